"""Buckets that keep versions: what every engine promises (service/stores/version_port.py)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from metadata_engines import CREATE_ONLY, TRICKY, World, dead, only_if
from test_outbox import drained

from service.errors import BucketDeleting, PreconditionFailed
from service.model.event import EventType
from service.model.ids import new_id
from service.model.preconditions import EntityTags, Preconditions
from service.model.version import DeleteMarker, Entry, Version


@pytest.fixture
async def keeping(world: World) -> World:
    return await world.keeping()


async def put(world: World, key: str = "k") -> Version:
    """As it is stored: what a PUT returns does not say how its events are named."""
    made = await world.put(key)
    stored = await world.latest(key)
    assert stored is not None
    assert stored.id == made.id
    return stored


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


async def seq_of(world: World, key: str = "k") -> int:
    return await world.store.versions.current_seq(*world.place, key)


async def find(world: World, version: Entry, key: str = "k") -> Version | None:
    return await world.store.versions.get(*world.place, key, version.id)


async def dead_ids(world: World) -> list[str]:
    await world.pass_time(0.01)
    return ids(list(await world.store.versions.dead(older_than_s=0, limit=100)))


# overwriting


async def test_an_overwritten_version_is_kept_and_read_by_its_id(keeping: World):
    old = await put(keeping, TRICKY)
    new = await put(keeping, TRICKY)
    assert await keeping.latest(TRICKY) == new
    assert await keeping.history(TRICKY) == [new, dead(old)]
    assert await find(keeping, old, TRICKY) == dead(old)
    assert await keeping.keys() == [TRICKY]
    assert await dead_ids(keeping) == []


async def test_what_is_kept_is_neither_dead_nor_forgotten_as_the_dead_are(keeping: World):
    old = await put(keeping)
    await put(keeping)
    await keeping.store.versions.forget_dead(old.id)
    assert await find(keeping, old) == dead(old)


async def test_a_key_in_a_bucket_that_keeps_none_has_a_history_of_one(world: World):
    await put(world)
    new = await put(world)
    assert await world.history() == [new]
    await world.delete()
    assert await world.history() == []
    assert await world.history("nothing") == []


async def test_a_history_comes_in_pages_of_one_key_only(keeping: World):
    made = [await put(keeping) for _ in range(5)]
    await put(keeping, "k0")
    first = await keeping.history(limit=2)
    assert ids(first) == [made[4].id, made[3].id]
    assert ids(await keeping.history(before_seq=first[-1].seq)) == [v.id for v in made[2::-1]]


# delete markers


async def test_a_delete_keeps_the_version_behind_a_marker(keeping: World):
    version = await put(keeping)
    marker = await keeping.delete()
    assert isinstance(marker, DeleteMarker)
    assert marker.seq > version.seq
    assert await keeping.latest() is None
    assert await keeping.keys() == []
    assert await keeping.history() == [marker, dead(version)]
    assert await find(keeping, version) == dead(version)
    assert await find(keeping, marker) is None
    assert await seq_of(keeping) >= marker.seq
    assert await dead_ids(keeping) == []


async def test_a_second_delete_finds_nothing_and_makes_no_marker(keeping: World):
    await put(keeping)
    marker = await keeping.delete()
    assert await keeping.delete() is None
    assert await keeping.delete("nothing") is None
    assert ids(await keeping.history())[0] == marker.id
    assert await keeping.history("nothing") == []


async def test_a_marker_is_no_representation_to_a_precondition(keeping: World):
    await put(keeping)
    await keeping.delete()
    with pytest.raises(PreconditionFailed):
        await keeping.delete(preconditions=Preconditions(if_match=EntityTags(any=True)))
    upload = await keeping.commit(await keeping.completing(preconditions=CREATE_ONLY))
    assert upload.replaced is False
    assert (await keeping.history())[0] == await keeping.latest()
    assert len(await keeping.history()) == 3


async def test_a_failed_precondition_makes_no_marker(keeping: World):
    old = await put(keeping)
    new = await put(keeping)
    with pytest.raises(PreconditionFailed):
        await keeping.delete(preconditions=only_if(old.etag))
    assert await keeping.latest() == new


@pytest.mark.timeout(60)
async def test_one_of_many_deletes_makes_a_marker(keeping: World):
    await put(keeping)
    made = await asyncio.gather(*(keeping.delete() for _ in range(8)))
    assert len([marker for marker in made if marker is not None]) == 1
    assert len(await keeping.history()) == 2


async def test_no_marker_comes_into_a_bucket_that_goes(keeping: World):
    version = await put(keeping)
    await keeping.store.buckets.begin_delete(*keeping.place)
    with pytest.raises(BucketDeleting):
        await keeping.delete()
    assert await keeping.history() == [version]


async def test_a_marker_is_content_of_a_bucket(keeping: World):
    version = await put(keeping)
    marker = await keeping.delete()
    await keeping.delete_version(version.id)
    assert await keeping.store.versions.has_content(*keeping.place)
    await keeping.delete_version(marker.id)
    assert not await keeping.store.versions.has_content(*keeping.place)


# one version, for good


async def test_a_kept_version_is_deleted_for_good(keeping: World):
    old, new = await put(keeping), await put(keeping)
    seq = await seq_of(keeping)
    assert await keeping.delete_version(old.id) == dead(old)
    assert await find(keeping, old) is None
    assert ids(await keeping.history()) == [new.id]
    assert await seq_of(keeping) > seq
    assert await dead_ids(keeping) == [old.id]
    assert await keeping.delete_version(old.id) is None


async def test_the_deletion_of_the_latest_shows_the_one_before(keeping: World):
    first, second, third = [await put(keeping) for _ in range(3)]
    await keeping.delete_version(second.id)
    assert await keeping.delete_version(third.id)
    shown = await keeping.latest()
    assert shown is not None
    assert shown == replace(first, changed_seq=shown.changed_seq)
    assert shown.last_seq == await seq_of(keeping) > third.seq
    assert await keeping.keys() == ["k"]
    assert (await put(keeping)).seq > shown.last_seq


async def test_the_deletion_of_the_last_one_leaves_a_tombstone(keeping: World):
    version = await put(keeping)
    assert await keeping.delete_version(version.id) == version
    assert await keeping.latest() is None
    assert await keeping.history() == []
    assert await seq_of(keeping) > version.seq
    assert (await put(keeping)).seq > version.seq + 1


async def test_a_marker_taken_away_shows_what_it_hid(keeping: World):
    version = await put(keeping)
    marker = await keeping.delete()
    assert ids([await keeping.delete_version(marker.id)]) == [marker.id]
    shown = await keeping.latest()
    assert shown is not None
    assert shown.id == version.id
    assert ids(await keeping.history()) == [version.id]
    assert await dead_ids(keeping) == []


async def test_a_marker_behind_others_is_taken_away_and_nothing_else(keeping: World):
    first = await put(keeping)
    marker = await keeping.delete()
    second = await put(keeping)
    await keeping.delete_version(marker.id)
    assert ids(await keeping.history()) == [second.id, first.id]
    latest = await keeping.latest()
    assert latest is not None
    assert latest.id == second.id


async def test_below_a_deleted_latest_a_marker_may_lie(keeping: World):
    await put(keeping)
    marker = await keeping.delete()
    new = await put(keeping)
    await keeping.delete_version(new.id)
    assert await keeping.latest() is None
    assert ids(await keeping.history())[0] == marker.id
    assert await keeping.delete() is None


async def test_preconditions_are_about_the_version_that_is_named(keeping: World):
    old, new = await put(keeping), await put(keeping)
    with pytest.raises(PreconditionFailed):
        await keeping.delete_version(old.id, preconditions=only_if(new.etag))
    assert await keeping.delete_version(old.id, preconditions=only_if(old.etag))
    marker = await keeping.delete()
    any_tag = Preconditions(if_match=EntityTags(any=True))
    with pytest.raises(PreconditionFailed):
        await keeping.delete_version(marker.id, preconditions=any_tag)


async def test_a_version_is_deleted_under_its_own_name_only(keeping: World):
    version = await put(keeping)
    other = await put(keeping, "other")
    assert await keeping.delete_version(version.id, "other") is None
    assert await keeping.delete_version(new_id()) is None
    assert await keeping.latest() == version
    assert await keeping.latest("other") == other


async def test_the_one_version_of_a_bucket_that_keeps_none_is_named_as_well(world: World):
    old = await put(world)
    new = await put(world)
    assert await world.delete_version(old.id) is None
    assert await world.delete_version(new.id) == new
    assert await world.latest() is None
    assert set(await dead_ids(world)) == {old.id, new.id}


@pytest.mark.timeout(60)
async def test_many_changes_of_one_key_at_once_leave_one_latest_and_a_strict_order(
    keeping: World,
):
    made = [await put(keeping) for _ in range(4)]
    await drained(keeping)
    await asyncio.gather(
        *(keeping.delete_version(version.id) for version in made[1:]),
        keeping.put(),
        keeping.delete(),
    )
    left = await keeping.history()
    assert made[0].id in ids(left)
    assert [entry.latest for entry in left] == [True] + [False] * (len(left) - 1)
    seqs = [event.seq for event in await drained(keeping)]
    assert len(set(seqs)) == len(seqs) >= 4


# versioning switched on and off


async def test_what_was_there_before_is_kept_from_then_on(world: World):
    old = await put(world)
    await world.set_versioning(True)
    new = await put(world)
    assert ids(await world.history()) == [new.id, old.id]
    assert (old.own_subject, new.own_subject) == (False, True)


async def test_without_versioning_what_was_kept_stays_and_what_comes_is_not(keeping: World):
    kept, second = await put(keeping), await put(keeping)
    await keeping.set_versioning(False)
    third = await put(keeping)
    assert ids(await keeping.history()) == [third.id, kept.id]
    assert await dead_ids(keeping) == [second.id]


async def test_a_delete_without_versioning_does_not_bring_older_ones_back(keeping: World):
    kept, second = await put(keeping), await put(keeping)
    await keeping.set_versioning(False)
    deleted = await keeping.delete()
    assert ids([deleted]) == [second.id]
    assert await keeping.latest() is None
    marker, left = await keeping.history()
    assert isinstance(marker, DeleteMarker)
    assert left.id == kept.id
    assert await dead_ids(keeping) == [second.id]


async def test_a_delete_without_versioning_and_without_others_leaves_no_marker(keeping: World):
    await put(keeping)
    await keeping.set_versioning(False)
    await keeping.delete()
    assert await keeping.history() == []
    assert not await keeping.store.versions.has_content(*keeping.place)


# what the journal is told


async def test_each_version_and_marker_is_a_subject_of_its_own(keeping: World):
    first, second = await put(keeping), await put(keeping)
    marker = await keeping.delete()
    await keeping.delete_version(first.id)
    events = [event for event in await drained(keeping) if event.seq > 1000]
    assert [(event.type, event.of.id) for event in events] == [
        (EventType.OBJECT_CREATED, first.id),
        (EventType.OBJECT_CREATED, second.id),
        (EventType.MARKER_CREATED, marker.id),
        (EventType.OBJECT_DELETED, first.id),
    ]
    assert len({event.subject for event in events}) == 3
    assert [event.seq for event in events] == sorted({event.seq for event in events})


@pytest.mark.parametrize("how", ["put", "delete"])
async def test_what_ends_without_versioning_is_told_after_what_came_in_its_place(
    keeping: World, how: str
):
    """A journal that is cut between the two must not lose the name."""
    await put(keeping)
    ends = await put(keeping)
    await keeping.set_versioning(False)
    await drained(keeping)
    await (put(keeping) if how == "put" else keeping.delete())
    new, old = await drained(keeping)
    created = EventType.OBJECT_CREATED if how == "put" else EventType.MARKER_CREATED
    assert (new.type, old.type, old.of.id) == (created, EventType.OBJECT_DELETED, ends.id)
    assert new.seq < old.seq <= await seq_of(keeping)


async def test_a_mark_of_damage_leaves_the_order_of_a_history_as_it_is(keeping: World):
    old, new = await put(keeping), await put(keeping)
    assert await keeping.store.audits.mark_damaged(old.id, damaged=True)
    marked = await find(keeping, old)
    assert marked is not None
    assert marked.damaged_at is not None
    assert marked.seq == old.seq
    assert ids(await keeping.history()) == [new.id, old.id]
    assert await seq_of(keeping) > new.seq


async def test_claims_on_blobs_are_those_of_kept_versions_too(keeping: World):
    old, new = await put(keeping), await put(keeping)
    await keeping.delete()
    claims = await keeping.store.audits.claims(after="", limit=10)
    assert {claim.blob_key for claim in claims} == {old.blob_key, new.blob_key}
    assert not any(claim.dead for claim in claims)


# all engines alike


@pytest.mark.timeout(120)
async def test_a_random_life_leaves_the_same_as_in_memory(mongo_world: World, memory_world: World):
    """The fake is what the tests of crashes and of rebuilds believe."""
    chance = random.Random(6)
    both = [mongo_world, memory_world]
    names: list[dict[str, str]] = [{}, {}]
    for step in range(45):
        move, key, pick = chance.randrange(7), chance.choice("ab"), chance.random()
        told = []
        for each, known in zip(both, names, strict=True):
            done = await _move(each, move, key, pick)
            if isinstance(done, Version | DeleteMarker):
                known.setdefault(done.id, f"{step}")
            told.append(await _seen(each, key, known))
        assert told[0] == told[1], f"step {step}: {move}"
    events = [await drained(each) for each in both]
    told = [
        [(event.type, known.get(event.of.id)) for event in of_one if event.type.startswith("obj")]
        for of_one, known in zip(events, names, strict=True)
    ]
    assert told[0] == told[1]


async def _move(world: World, move: int, key: str, pick: float) -> Any:
    await world.pass_time(0)
    match move:
        case 0 | 1 | 2:
            return await put(world, key)
        case 3:
            deleted = await world.delete(key)
            found = await world.history(key)
            return found[0] if deleted and found else None
        case 4 | 5:
            found = await world.history(key)
            if found:
                await world.delete_version(found[int(pick * len(found))].id, key)
            return None
    return await world.set_versioning(pick < 0.7)


async def _seen(world: World, key: str, names: dict[str, str]) -> Any:
    latest = await world.latest(key)
    return (
        [(names[entry.id], entry.latest) for entry in await world.history(key)],
        names[latest.id] if latest else None,
        [names[each] for each in await dead_ids(world)],
        await world.store.versions.has_content(*world.place),
    )
