"""Moves: what every engine promises of `hand_over`, and of a commit that deletes its source."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from metadata_engines import CREATE_ONLY, DEADLINE_S, TENANT, TRICKY, World, only_if

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    MediagateError,
    PreconditionFailed,
)
from service.model.bucket import BucketSettings
from service.model.event import Event, EventType
from service.model.ids import BucketId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.upload import MovedFrom, UploadState
from service.model.version import DeleteMarker, HandedOver, Version


async def move(
    world: World,
    old: Version,
    key: str = "to",
    preconditions: Preconditions | None = None,
    *,
    into: World | None = None,
) -> HandedOver | None:
    return await world.store.versions.hand_over(
        TENANT,
        MovedFrom(old.bucket_id, old.key, old.id),
        (into or world).bucket.id,
        key,
        VersionId(new_id()),
        preconditions or Preconditions(),
        deadline_s=DEADLINE_S,
    )


async def moved(world: World, old: Version, key: str = "to", **changes: Any) -> Version:
    made = await move(world, old, key, **changes)
    assert made is not None
    return made.version


async def other(world: World, name: str = "stills") -> World:
    """The same engine with another bucket."""
    second = replace(world)
    second.bucket = await world.store.buckets.create(TENANT, name, BucketSettings())
    return second


async def all_claims(world: World) -> list[tuple[str, str]]:
    found = await world.store.audits.claims(after="", limit=1000)
    return [(claim.blob_key, claim.version) for claim in found if not claim.dead]


async def published(world: World) -> list[Event]:
    """The events of objects, in the order in which the journal gets them."""
    outbox, found = world.store.outbox, []
    publisher = await outbox.lead("publisher", 60)
    assert publisher is not None
    while (batch := await outbox.claim(publisher, limit=1)).events:
        found += batch.events
        await outbox.published(publisher, batch)
    return [event for event in found if isinstance(event.of, Version | DeleteMarker)]


async def remove_if_empty(world: World) -> bool:
    """As the deletion of a bucket does it."""
    buckets = world.store.buckets
    nonce = await buckets.begin_delete(*world.place)
    if await world.store.versions.has_content(*world.place):
        await buckets.revert_delete(*world.place, nonce)
        return False
    return await buckets.remove(*world.place, nonce)


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, MediagateError):
            raise result
    return results


async def test_a_move_hands_blob_and_facts_over_to_a_new_version(world: World):
    old = await world.put(TRICKY)
    before = await world.store.now()
    made = await move(world, old, "$to")
    assert made is not None
    version = made.version
    assert not made.replaced
    assert version == replace(
        old,
        id=version.id,
        key="$to",
        seq=version.seq,
        created_at=version.created_at,
        modified_at=version.created_at,
    )
    assert version.id != old.id
    assert version.seq > old.seq
    assert version.created_at >= before
    assert await world.latest("$to") == version
    assert await world.latest(TRICKY) is None
    assert await world.store.versions.get(*world.place, TRICKY, old.id) is None
    assert await world.keys() == ["$to"]


async def test_a_move_leaves_no_dead_version_whose_blob_a_sweeper_would_delete(world: World):
    old = await world.put()
    made = await moved(world, old)
    await world.pass_time(0.01)
    assert await world.store.versions.dead(older_than_s=0, limit=10) == []
    assert await all_claims(world) == [(old.blob_key, made.id)]


async def test_a_move_into_another_bucket_of_the_tenant(world: World):
    second, old = await other(world), await world.put()
    made = await moved(world, old, into=second)
    assert await second.latest("to") == made
    assert made.bucket_id == second.bucket.id
    assert await world.latest() is None
    assert not await world.store.versions.has_content(*world.place)


async def test_a_move_over_an_object_ends_it(world: World):
    old, there = await world.put(), await world.put("to")
    made = await move(world, old)
    assert made is not None
    assert made.replaced
    assert made.version.seq > there.seq
    assert await world.latest("to") == made.version
    await world.pass_time(0.01)
    found = await world.store.versions.dead(older_than_s=0, limit=10)
    assert [version.id for version in found] == [there.id]


async def test_a_move_over_a_tombstone_comes_later(world: World):
    await world.put("to")
    await world.delete("to")
    seq = await world.store.versions.current_seq(*world.place, "to")
    made = await move(world, await world.put())
    assert made is not None
    assert not made.replaced
    assert made.version.seq > seq


async def test_a_move_into_a_bucket_that_keeps_versions_keeps_what_was_there(world: World):
    kept, old = await world.keeping(), await world.put()
    there = await kept.put("to")
    made = await moved(world, old, into=kept)
    assert [entry.id for entry in await kept.history("to")] == [made.id, there.id]
    assert made.own_subject
    await kept.delete("to")
    assert await kept.latest("to") is None
    again = await moved(world, await world.put(), into=kept)
    assert await kept.latest("to") == again
    assert len(await kept.history("to")) == 4


async def test_a_move_into_a_bucket_that_kept_versions_once_ends_what_was_there(world: World):
    kept, old = await world.keeping(), await world.put()
    there = await kept.put("to")
    await kept.set_versioning(False)
    made = await moved(world, old, into=kept)
    assert [entry.id for entry in await kept.history("to")] == [made.id]
    told = [(event.type, event.of.id) for event in await published(world)]
    created, deleted = EventType.OBJECT_CREATED, EventType.OBJECT_DELETED
    assert told.index((created, made.id)) < told.index((deleted, there.id))
    assert told.index((created, made.id)) < told.index((deleted, old.id))


async def test_nothing_moves_out_of_a_bucket_that_keeps_versions(world: World):
    kept = await world.keeping()
    old = await kept.put()
    assert await move(kept, old, into=world) is None
    assert [entry.id for entry in await kept.history()] == [old.id]
    assert await world.latest("to") is None


async def test_what_was_kept_behind_the_source_stays_behind_a_marker(world: World):
    kept = await world.keeping()
    first, old = await kept.put(), await kept.put()
    await kept.set_versioning(False)
    made = await moved(kept, old, into=world)
    assert await kept.latest() is None
    marker, behind = await kept.history()
    assert isinstance(marker, DeleteMarker)
    assert behind.id == first.id
    assert await world.latest("to") == made
    assert set(await all_claims(world)) == {
        (first.blob_key, first.id),
        (old.blob_key, made.id),
    }


async def test_a_source_that_names_another_version_is_left_alone(world: World):
    old = await world.put()
    new = await world.put()
    assert await move(world, old) is None
    await world.delete()
    assert await move(world, new) is None
    assert await move(world, replace(new, key="never")) is None
    assert await world.latest("to") is None


async def test_a_second_move_of_the_same_version_finds_nothing(world: World):
    old = await world.put()
    made = await moved(world, old)
    assert await move(world, old, "elsewhere") is None
    assert await world.latest("to") == made


async def test_preconditions_are_about_the_destination(world: World):
    old, there = await world.put(), await world.put("to")
    for refused in (CREATE_ONLY, only_if(old.etag)):
        with pytest.raises(PreconditionFailed):
            await move(world, old, "to", refused)
    with pytest.raises(PreconditionFailed):
        await move(world, old, "nothing", only_if(old.etag))
    assert await world.latest() == old
    assert await world.latest("to") == there
    assert await move(world, old, "to", only_if(there.etag)) is not None


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_bucket_that_is_deleting_takes_part_in_no_move(world: World, side: str):
    second, old = await other(world), await world.put()
    going = world if side == "source" else second
    nonce = await world.store.buckets.begin_delete(*going.place)
    with pytest.raises(BucketDeleting):
        await move(world, old, into=second)
    await world.store.buckets.revert_delete(*going.place, nonce)
    assert await world.latest() == old
    assert await move(world, old, into=second) is not None


async def test_a_bucket_that_is_not_there_takes_no_move(world: World):
    old = await world.put()
    nowhere = replace(world)
    nowhere.bucket = replace(world.bucket, id=BucketId(new_id()))
    with pytest.raises(BucketNotFound):
        await move(world, old, into=nowhere)
    assert await world.latest() == old


async def test_the_seq_of_a_blobs_claims_grows_with_every_move(world: World):
    version, seen = await world.put(), []
    for key in ("b", "c", "k", "b"):
        seen.append(version.seq)
        version = await moved(world, version, key)
    assert [*seen, version.seq] == sorted({*seen, version.seq})


async def test_the_journal_never_gets_the_removal_before_the_new_version(world: World):
    old = await world.put()
    made = await moved(world, old)
    events = await published(world)
    assert [(event.type, event.of.id) for event in events] == [
        (EventType.OBJECT_CREATED, old.id),
        (EventType.OBJECT_CREATED, made.id),
        (EventType.OBJECT_DELETED, old.id),
    ]
    assert events[1].id == made.id
    assert events[1].of == made


# races


async def test_one_of_many_moves_of_one_source_wins(world: World):
    old = await world.put()
    results = await outcomes(*(move(world, old, f"to-{n}") for n in range(6)))
    won = [made for made in results if isinstance(made, HandedOver)]
    assert len(won) == 1
    assert await world.keys() == [won[0].version.key]


async def test_moves_of_many_sources_to_one_name_come_one_after_the_other(world: World):
    olds = [await world.put(f"from-{n}") for n in range(5)]
    results = await outcomes(*(move(world, old) for old in olds))
    made = [each.version for each in results if isinstance(each, HandedOver)]
    assert len(made) == 5
    assert len({version.seq for version in made}) == 5
    latest = await world.latest("to")
    assert latest == max(made, key=lambda version: version.seq)
    assert await world.keys() == ["to"]


async def test_one_of_many_moves_to_a_new_name_wins_where_it_must_be_new(world: World):
    olds = [await world.put(f"from-{n}") for n in range(5)]
    results = await outcomes(*(move(world, old, "to", CREATE_ONLY) for old in olds))
    assert [type(each) for each in results].count(HandedOver) == 1
    assert [type(each) for each in results].count(PreconditionFailed) == 4
    assert len(await world.keys()) == 5


@pytest.mark.parametrize("rival", ["put", "delete", "move back"])
async def test_a_move_and_a_change_of_its_source_have_an_order(world: World, rival: str):
    for n in range(4):
        key, to = f"from-{n}", f"to-{n}"
        old = await world.put(key)
        upload = await world.completing(key)
        there = await world.put(f"back-{n}")
        against = {
            "put": lambda upload=upload: world.commit(upload),
            "delete": lambda key=key: world.delete(key),
            "move back": lambda there=there, key=key: move(world, there, key),
        }[rival]
        made, beaten = await outcomes(move(world, old, to), against())
        assert not isinstance(made, BaseException), made
        assert not isinstance(beaten, BaseException), beaten
        now = await world.latest(key)
        if made is None:
            assert await world.latest(to) is None
        else:
            assert await world.latest(to) == made.version
        assert (now is None) is (rival == "delete")
        assert now is None or now.id != old.id
    await assert_one_claim_a_blob(world)


@pytest.mark.parametrize("rival", ["put", "delete"])
async def test_a_move_and_a_change_of_its_destination_have_an_order(world: World, rival: str):
    for n in range(4):
        key, to = f"from-{n}", f"to-{n}"
        old, there = await world.put(key), await world.put(to)
        upload = await world.completing(to)
        against = world.commit(upload) if rival == "put" else world.delete(to)
        made, beaten = await outcomes(move(world, old, to), against)
        assert isinstance(made, HandedOver), made
        assert not isinstance(beaten, BaseException), beaten
        latest = await world.latest(to)
        if rival == "put":
            assert latest is not None
            assert latest.id in (made.version.id, upload.intent.version_id)
            assert latest.seq > there.seq
        else:
            assert latest is None or latest == made.version
        assert await world.latest(key) is None
    await assert_one_claim_a_blob(world)


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_move_and_the_deletion_of_a_bucket_never_lose_the_object(world: World, side: str):
    """Whichever wins, the object is under one of the two names, in a bucket that is there."""
    for n in range(4):
        one, two = await other(world, f"one-{n}"), await other(world, f"two-{n}")
        old = await one.put()
        going = one if side == "source" else two
        made, removed = await outcomes(move(one, old, into=two), remove_if_empty(going))
        assert isinstance(removed, bool), removed
        if isinstance(made, HandedOver):
            assert await two.latest("to") == made.version
            assert not (removed and side == "destination")
        else:
            assert isinstance(made, BucketDeleting | BucketNotFound)
            assert await one.latest() == old
            assert not (removed and side == "source")


async def assert_one_claim_a_blob(world: World) -> None:
    blobs = [blob for blob, _ in await all_claims(world)]
    assert len(blobs) == len(set(blobs))


# a move that is a copy


async def copied(world: World, old: Version, into: World, **changes: Any) -> Any:
    source = MovedFrom(old.bucket_id, old.key, old.id)
    return await into.ready("to", moved_from=source, **changes)


@pytest.mark.parametrize("whole", [False, True])
async def test_a_commit_of_a_move_leaves_a_marker_on_its_source(world: World, whole: bool):
    kept = await world.keeping()
    world.whole = whole
    old = await kept.put()
    upload = await copied(kept, old, world)
    assert upload.intent.moved_from == MovedFrom(old.bucket_id, "k", old.id)
    committed = await world.commit(upload)
    assert await world.latest("to") == committed.version()
    assert await kept.latest() is None
    marker, behind = await kept.history()
    assert isinstance(marker, DeleteMarker)
    assert behind.id == old.id
    told = [event.of.id for event in await published(world)]
    assert told.index(committed.intent.version_id) < told.index(marker.id)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("change", ["put", "delete", "delete the version"])
async def test_a_commit_of_a_move_fails_where_its_source_was_changed(
    world: World, whole: bool, change: str
):
    kept = await world.keeping()
    world.whole = whole
    old = await kept.put()
    upload = await copied(kept, old, world)
    if change == "put":
        await kept.put()
    elif change == "delete":
        await kept.delete()
    else:
        await kept.delete_version(old.id)
    before = await kept.history()
    with pytest.raises(PreconditionFailed):
        await world.commit(upload)
    assert await world.latest("to") is None
    assert await kept.history() == before
    assert (await world.read(upload)).state is not UploadState.COMMITTED


async def test_a_commit_of_a_move_within_one_bucket(world: World):
    kept = await world.keeping()
    old = await kept.put()
    committed = await kept.commit(await copied(kept, old, kept))
    assert await kept.keys() == ["to"]
    assert await kept.latest("to") == replace(committed.version(), own_subject=True)


async def test_a_commit_of_a_move_out_of_a_bucket_that_stopped_keeping_ends_the_source(
    world: World,
):
    kept = await world.keeping()
    old = await kept.put()
    upload = await copied(kept, old, world)
    await kept.set_versioning(False)
    await world.commit(upload)
    assert await kept.history() == []
    await world.pass_time(0.01)
    found = await world.store.versions.dead(older_than_s=0, limit=10)
    assert [version.id for version in found] == [old.id]


async def test_a_commit_of_a_move_and_a_change_of_its_source_have_an_order(world: World):
    kept = await world.keeping()
    for n in range(4):
        old = await kept.put(f"from-{n}")
        source = MovedFrom(old.bucket_id, old.key, old.id)
        upload = await world.ready(f"to-{n}", moved_from=source)
        rival = await kept.completing(f"from-{n}")
        made, beaten = await outcomes(world.commit(upload), kept.commit(rival))
        assert not isinstance(beaten, BaseException), beaten
        latest = await kept.latest(f"from-{n}")
        assert latest is not None
        assert latest.id == rival.intent.version_id
        there = await world.latest(f"to-{n}")
        if isinstance(made, BaseException):
            assert isinstance(made, PreconditionFailed)
            assert there is None
            assert len(await kept.history(f"from-{n}")) == 2
        else:
            assert there is not None
            assert len(await kept.history(f"from-{n}")) == 3
