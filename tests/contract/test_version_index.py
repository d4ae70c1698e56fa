"""The version index: what every engine promises (service/stores/ports.py, VersionIndex)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metadata_engines import OTHER_TENANT, TENANT, TRICKY, World, dead, only_if

from service.errors import PreconditionFailed
from service.model.bucket import BucketSettings
from service.model.ids import BucketId, VersionId, new_id
from service.model.preconditions import EntityTags, Preconditions


async def seq_of(world: World, key: str = "k") -> int:
    return await world.store.versions.current_seq(*world.place, key)


async def dead_ids(world: World, **changes: Any) -> list[str]:
    values: dict[str, Any] = {"older_than_s": 0, "limit": 100}
    found = await world.store.versions.dead(**(values | changes))
    return [version.id for version in found]


# one key


async def test_an_unknown_key_names_nothing(world: World):
    assert await world.latest("nothing") is None
    assert await seq_of(world, "nothing") == 0


async def test_a_key_is_found_in_its_tenant_bucket_and_spelling_only(world: World):
    version = await world.put(TRICKY)
    index = world.store.versions
    other = BucketId(new_id())
    assert await world.latest(TRICKY) == version
    for tenant, bucket, key in (
        (OTHER_TENANT, world.bucket.id, TRICKY),
        (TENANT, other, TRICKY),
        (TENANT, world.bucket.id, TRICKY.upper()),
    ):
        assert await index.get_latest(tenant, bucket, key) is None
        assert await index.get(tenant, bucket, key, version.id) is None
        assert await index.current_seq(tenant, bucket, key) == 0


async def test_get_finds_a_version_that_counts_and_no_other(world: World):
    index = world.store.versions
    old = await world.put()
    assert await index.get(*world.place, "k", old.id) == old
    new = await world.put()
    assert await index.get(*world.place, "k", old.id) is None
    assert await index.get(*world.place, "k", new.id) == new
    assert await index.get(*world.place, "k", VersionId(new_id())) is None


async def test_current_seq_is_that_of_the_last_change(world: World):
    version = await world.put()
    assert await seq_of(world) == version.seq
    await world.delete()
    assert await seq_of(world) > version.seq


# delete


async def test_delete_returns_what_it_deleted_and_leaves_it_dead(world: World):
    version = await world.put(TRICKY)
    assert await world.delete(TRICKY) == version
    assert await world.latest(TRICKY) is None
    assert await world.store.versions.get(*world.place, TRICKY, version.id) is None
    assert await world.keys() == []
    await world.pass_time(0.01)
    found = await world.store.versions.dead(older_than_s=0, limit=10)
    assert found == [dead(version)]


async def test_delete_of_nothing_is_none(world: World):
    assert await world.delete("nothing") is None
    assert await seq_of(world, "nothing") == 0


async def test_a_second_delete_finds_nothing_and_changes_nothing(world: World):
    await world.put()
    await world.delete()
    seq = await seq_of(world)
    assert await world.delete() is None
    assert await seq_of(world) == seq


async def test_a_failed_precondition_deletes_nothing(world: World):
    old = await world.put()
    new = await world.put()
    with pytest.raises(PreconditionFailed):
        await world.delete(preconditions=only_if(old.etag))
    assert await world.latest() == new
    assert await seq_of(world) == new.seq
    assert await world.delete(preconditions=only_if(new.etag)) == new


@pytest.mark.parametrize("deleted", [False, True])
async def test_if_match_fails_where_there_is_nothing_to_delete(world: World, deleted: bool):
    if deleted:
        await world.put()
        await world.delete()
    with pytest.raises(PreconditionFailed):
        await world.delete(preconditions=Preconditions(if_match=EntityTags(any=True)))


@pytest.mark.timeout(60)
async def test_one_of_many_deletes_deletes(world: World):
    version = await world.put()
    results = await asyncio.gather(*(world.delete() for _ in range(10)))
    assert sorted(results, key=bool) == [None] * 9 + [version]


# the sweeper's questions


async def test_has_content_counts_versions_but_not_the_dead_nor_tombstones(world: World):
    index = world.store.versions
    assert not await index.has_content(*world.place)
    await world.put("a")
    await world.put("a")
    await world.put("b")
    assert await index.has_content(*world.place)
    assert not await index.has_content(OTHER_TENANT, world.bucket.id)
    assert not await index.has_content(TENANT, BucketId(new_id()))
    await world.delete("a")
    assert await index.has_content(*world.place)
    await world.delete("b")
    assert not await index.has_content(*world.place)


async def test_dead_versions_are_listed_once_they_are_old_enough(world: World):
    old = await world.put()
    await world.put()
    assert await dead_ids(world, older_than_s=0.5) == []
    await world.pass_time(0.5)
    assert await dead_ids(world, older_than_s=0.5) == [old.id]


async def test_dead_versions_are_listed_of_all_tenants_up_to_a_limit(world: World):
    bucket = await world.store.buckets.create(OTHER_TENANT, "films", BucketSettings())
    versions = [await world.put(f"k{n}") for n in range(2)]
    for version in versions:
        await world.delete(version.key)
    there = await world.put(tenant=OTHER_TENANT, bucket_id=bucket.id)
    await world.put(tenant=OTHER_TENANT, bucket_id=bucket.id)
    await world.pass_time(0.01)
    assert set(await dead_ids(world)) == {there.id, *(version.id for version in versions)}
    assert len(await dead_ids(world, limit=2)) == 2


async def test_forget_dead_drops_a_dead_version_and_no_other(world: World):
    old = await world.put()
    new = await world.put()
    await world.store.versions.forget_dead(old.id)
    await world.store.versions.forget_dead(new.id)
    await world.pass_time(0.01)
    assert await dead_ids(world) == []
    assert await world.latest() == new


async def test_tombstones_are_forgotten_once_they_are_old_enough(world: World):
    forget = world.store.versions.forget_tombstones
    for n in range(3):
        await world.put(f"k{n}")
        await world.delete(f"k{n}")
    alive = await world.put("alive")
    await world.pass_time(0.01)
    assert await forget(older_than_s=60, limit=10) == 0
    assert await seq_of(world, "k0") > 0
    assert await forget(older_than_s=0, limit=2) == 2
    assert await forget(older_than_s=0, limit=2) == 1
    assert await forget(older_than_s=0, limit=2) == 0
    assert [await seq_of(world, f"k{n}") for n in range(3)] == [0, 0, 0]
    assert await world.latest("alive") == alive
    assert len(await dead_ids(world)) == 3


# scan


async def test_a_scan_lists_latest_versions_by_key(world: World):
    await world.put("b")
    versions = {key: await world.put(key) for key in ("b", "a/1", "a/2", "c")}
    await world.delete("c")
    found = await world.store.versions.scan(
        *world.place, prefix="", start="", inclusive=True, limit=10
    )
    assert found == [versions["a/1"], versions["a/2"], versions["b"]]


async def test_a_scan_stays_in_its_tenants_bucket(world: World):
    bucket = await world.store.buckets.create(TENANT, "music", BucketSettings())
    await world.put("here")
    await world.put("there", bucket_id=bucket.id)
    assert await world.keys() == ["here"]


async def test_a_scan_begins_at_its_start_or_just_after(world: World):
    for key in ("a", "ab", "b", "ba", "c"):
        await world.put(key)
    assert await world.keys(start="ab") == ["ab", "b", "ba", "c"]
    assert await world.keys(start="ab", inclusive=False) == ["b", "ba", "c"]
    assert await world.keys(start="aa", inclusive=False) == ["ab", "b", "ba", "c"]
    assert await world.keys(limit=2) == ["a", "ab"]
    assert await world.keys("b", start="a") == ["b", "ba"]
    assert await world.keys("b", start="b", inclusive=False) == ["ba"]
    assert await world.keys("b", start="bz") == []
    assert await world.keys("b", start="c") == []
    assert await world.keys("b", inclusive=False) == ["b", "ba"]


KEY = st.text(
    st.sampled_from("a$.*/%\x7fé\ud7ff\ue000\uffff\U00010000\U0010ffff"), min_size=1, max_size=4
)
PREFIX = st.text(st.sampled_from("a$.\ud7ff\ue000\uffff\U0010ffff"), max_size=2)


@pytest.mark.timeout(120)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=st.sets(KEY, min_size=1, max_size=8), prefix=PREFIX, start=st.just("") | KEY)
async def test_a_scan_follows_utf_8_order(world: World, keys: set[str], prefix: str, start: str):
    world.bucket = await world.store.buckets.create(TENANT, new_id(), BucketSettings())
    for key in keys:
        await world.put(key)
    matching = sorted((k for k in keys if k.startswith(prefix)), key=str.encode)
    for inclusive in (True, False):
        wanted = [
            key for key in matching if key.encode() > start.encode() or (inclusive and key == start)
        ]
        assert await world.keys(prefix, start, inclusive=inclusive) == wanted


@pytest.mark.timeout(60)
async def test_a_walk_meets_every_key_once_while_others_come_and_go(world: World):
    kept = [f"k{n:02}" for n in range(0, 40, 2)]
    for key in kept:
        await world.put(key)
    met: list[str] = []
    start, inclusive, n = "", True, 1
    while page := await world.keys("k", start, inclusive=inclusive, limit=7):
        met += page
        start, inclusive = page[-1], False
        await world.put(f"k{n:02}")
        await world.put(f"k{n + 30:02}")
        await world.delete(f"k{n:02}")
        n += 2
    assert [key for key in met if key in kept] == kept
    assert len(met) == len(set(met))
