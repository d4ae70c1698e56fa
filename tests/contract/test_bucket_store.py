"""Buckets: what every engine promises (service/stores/ports.py, BucketStore)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from metadata_engines import OTHER_TENANT, TENANT, World

from service.errors import BucketDeleting, BucketExists, BucketNotFound, PreconditionFailed
from service.model.bucket import Bucket, BucketSettings, BucketState, Delivery
from service.model.ids import BucketId, new_id

CHOSEN = BucketSettings(5 << 40, ("video/*", "$image"), "$cache", Delivery.REDIRECT)


async def test_create_makes_an_active_bucket(world: World):
    before = await world.store.now()
    bucket = await world.store.buckets.create(TENANT, "music", CHOSEN)
    assert (bucket.tenant, bucket.name, bucket.settings) == (TENANT, "music", CHOSEN)
    assert (bucket.state, bucket.revision) == (BucketState.ACTIVE, 1)
    assert before <= bucket.created_at <= await world.store.now()
    assert await world.store.buckets.get(TENANT, "music") == bucket


async def test_a_name_is_taken_once_for_each_tenant(world: World):
    with pytest.raises(BucketExists):
        await world.store.buckets.create(TENANT, "films", CHOSEN)
    assert await world.store.buckets.get(TENANT, "films") == world.bucket
    other = await world.store.buckets.create(OTHER_TENANT, "films", CHOSEN)
    assert other.id != world.bucket.id


async def test_one_of_many_at_once_makes_the_bucket(world: World):
    results = await asyncio.gather(
        *(world.store.buckets.create(TENANT, "music", CHOSEN) for _ in range(8)),
        return_exceptions=True,
    )
    made = [result for result in results if isinstance(result, Bucket)]
    assert made == [await world.store.buckets.get(TENANT, "music")]
    assert sum(isinstance(result, BucketExists) for result in results) == 7


async def test_a_bucket_is_unknown_to_other_tenants(world: World):
    buckets = world.store.buckets
    assert await buckets.get(OTHER_TENANT, "films") is None
    assert await buckets.get(TENANT, "nothing") is None
    with pytest.raises(BucketNotFound):
        await buckets.update(OTHER_TENANT, world.bucket.id, CHOSEN, revision=1)
    with pytest.raises(BucketNotFound):
        await buckets.begin_delete(OTHER_TENANT, world.bucket.id)
    assert await buckets.get(TENANT, "films") == world.bucket


async def test_list_goes_by_name_after_a_name(world: World):
    buckets = world.store.buckets
    for name in ("music", "art", "books"):
        await buckets.create(TENANT, name, CHOSEN)
    await buckets.create(OTHER_TENANT, "bikes", CHOSEN)
    names = [bucket.name for bucket in await buckets.list(TENANT, after="", limit=10)]
    assert names == ["art", "books", "films", "music"]
    page = await buckets.list(TENANT, after="art", limit=2)
    assert [bucket.name for bucket in page] == ["books", "films"]
    assert page[1] == world.bucket
    assert await buckets.list(TENANT, after="music", limit=2) == []


async def test_update_replaces_the_settings_and_raises_the_revision(world: World):
    changed = await world.store.buckets.update(*world.place, CHOSEN, revision=1)
    assert changed == replace(world.bucket, settings=CHOSEN, revision=2)
    assert changed.etag != world.bucket.etag
    assert await world.store.buckets.get(TENANT, "films") == changed


@pytest.mark.parametrize("revision", [0, 2])
async def test_update_of_another_revision_changes_nothing(world: World, revision: int):
    with pytest.raises(PreconditionFailed):
        await world.store.buckets.update(*world.place, CHOSEN, revision=revision)
    assert await world.store.buckets.get(TENANT, "films") == world.bucket


async def test_one_of_many_updates_of_a_revision_wins(world: World):
    results = await asyncio.gather(
        *(world.store.buckets.update(*world.place, CHOSEN, revision=1) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Bucket) for result in results) == 1
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 7


async def test_an_unknown_bucket_is_not_found(world: World):
    unknown = BucketId(new_id())
    with pytest.raises(BucketNotFound):
        await world.store.buckets.update(TENANT, unknown, CHOSEN, revision=1)
    with pytest.raises(BucketNotFound):
        await world.store.buckets.begin_delete(TENANT, unknown)


async def test_a_deleting_bucket_can_be_reverted_or_removed_but_not_changed(world: World):
    buckets = world.store.buckets
    nonce = await buckets.begin_delete(*world.place)
    assert await buckets.begin_delete(*world.place) == nonce
    found = await buckets.get(TENANT, "films")
    assert found == replace(world.bucket, state=BucketState.DELETING)
    with pytest.raises(BucketDeleting):
        await buckets.update(*world.place, CHOSEN, revision=1)
    with pytest.raises(BucketExists):
        await buckets.create(TENANT, "films", CHOSEN)
    await buckets.revert_delete(*world.place, "another")
    assert await buckets.get(TENANT, "films") == found
    await buckets.revert_delete(*world.place, nonce)
    assert await buckets.get(TENANT, "films") == world.bucket
    assert await buckets.begin_delete(*world.place) != nonce


async def test_remove_drops_a_deleting_bucket_only(world: World):
    buckets = world.store.buckets
    assert not await buckets.remove(*world.place, "none")
    assert await buckets.get(TENANT, "films") == world.bucket
    nonce = await buckets.begin_delete(*world.place)
    assert not await buckets.remove(OTHER_TENANT, world.bucket.id, nonce)
    assert not await buckets.remove(*world.place, "another")
    assert await buckets.get(TENANT, "films") is not None
    assert await buckets.remove(*world.place, nonce)
    assert await buckets.get(TENANT, "films") is None


async def test_a_name_made_again_is_another_bucket(world: World):
    await world.put()
    nonce = await world.store.buckets.begin_delete(*world.place)
    await world.store.buckets.remove(*world.place, nonce)
    again = await world.store.buckets.create(TENANT, "films", BucketSettings())
    assert again.id != world.bucket.id
    assert await world.store.versions.get_latest(TENANT, again.id, "k") is None
