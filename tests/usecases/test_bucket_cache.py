"""A cached bucket spares a read of the database and never gives a wrong answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.errors import BucketNotFound, ObjectNotFound
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT
from service.model.preconditions import Preconditions
from service.usecases.bucket_cache import BucketCache
from service.usecases.create_bucket import create_bucket
from service.usecases.delete_bucket import delete_bucket
from service.usecases.delete_object import delete_object
from service.usecases.get_object import find_version
from service.usecases.runtime import Runtime
from service.usecases.update_bucket import update_bucket
from tests.usecases.conftest import Put


@pytest.fixture
def reads(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read of the database, in order."""
    found: list[str] = []

    def counted(store: object, name: str, word: str) -> None:
        call = getattr(store, name)

        async def read(*args):
            found.append(word)
            return await call(*args)

        monkeypatch.setattr(store, name, read)

    counted(runtime.metadata.buckets, "get", "bucket")
    counted(runtime.metadata.versions, "get_latest", "version")
    return found


async def latest(runtime: Runtime, key: str = "a") -> str:
    return (await find_version(runtime, DEFAULT_TENANT, "films", key))[1].id


async def make_again(runtime: Runtime) -> None:
    """Another replica deletes the bucket and makes it again."""
    other = replace(runtime)
    await delete_bucket(other, DEFAULT_TENANT, "films")
    await create_bucket(other, DEFAULT_TENANT, "films", BucketSettings())


async def test_a_second_get_reads_the_version_alone(
    runtime: Runtime, put: Put, reads: list[str]
) -> None:
    stored = (await put(b"1")).version.id
    assert await latest(runtime) == stored
    reads.clear()
    assert await latest(runtime) == stored
    assert reads == ["version"]


async def test_a_miss_is_believed_only_of_the_bucket_that_has_the_name_now(
    runtime: Runtime, put: Put, reads: list[str]
) -> None:
    await put(b"1")
    await latest(runtime)
    reads.clear()
    with pytest.raises(ObjectNotFound):
        await latest(runtime, "nothing")
    assert reads == ["version", "bucket"]


async def test_an_object_in_a_bucket_made_again_elsewhere_is_found_at_once(
    runtime: Runtime, put: Put
) -> None:
    await put(b"1")
    await latest(runtime)
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    old = runtime.bucket_cache.known(DEFAULT_TENANT, "films")
    await make_again(runtime)
    stored = (await put(b"2")).version.id
    assert runtime.bucket_cache.known(DEFAULT_TENANT, "films") == old
    assert await latest(runtime) == stored


async def test_a_bucket_deleted_elsewhere_is_missing_at_once(runtime: Runtime, put: Put) -> None:
    await put(b"1")
    await latest(runtime)
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    await delete_bucket(replace(runtime), DEFAULT_TENANT, "films")
    with pytest.raises(BucketNotFound):
        await latest(runtime)


async def test_settings_changed_here_are_seen_at_once_and_elsewhere_within_a_second(
    runtime: Runtime, put: Put
) -> None:
    now = [100.0]
    there = BucketCache(runtime.metadata.buckets, clock=lambda: now[0])
    await put(b"1")
    before, _ = await find_version(runtime, DEFAULT_TENANT, "films", "a")
    assert await there.get(DEFAULT_TENANT, "films") == before
    changed = await update_bucket(
        runtime, DEFAULT_TENANT, "films", {"cache_control": "no-store"}, None
    )
    assert (await find_version(runtime, DEFAULT_TENANT, "films", "a"))[0] == changed
    assert await there.get(DEFAULT_TENANT, "films") == before
    now[0] += 1
    assert await there.get(DEFAULT_TENANT, "films") == changed


async def test_what_a_lookup_under_way_brings_back_after_a_change_is_not_kept(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets, go_on = runtime.metadata.buckets, asyncio.Event()
    get = buckets.get

    async def slow(*args):
        found = await get(*args)
        await go_on.wait()
        return found

    monkeypatch.setattr(buckets, "get", slow)
    lookup = asyncio.create_task(runtime.bucket_cache.fresh(DEFAULT_TENANT, "films"))
    await asyncio.sleep(0)
    runtime.bucket_cache.forget(DEFAULT_TENANT, "films")
    go_on.set()
    assert await lookup is not None
    assert runtime.bucket_cache.known(DEFAULT_TENANT, "films") is None
