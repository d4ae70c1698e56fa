"""Deleting a bucket beside uploads, other deletions and crashes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.errors import BucketDeleting, BucketNotEmpty, BucketNotFound, Fenced, StoreUnavailable
from service.model.bucket import BucketState
from service.model.ids import DEFAULT_TENANT
from service.model.preconditions import Preconditions
from service.usecases import delete_bucket as module
from service.usecases.delete_bucket import delete_bucket
from service.usecases.delete_object import delete_object
from service.usecases.put_object import PutRequest, put_object
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, chunked


async def state(metadata: FakeMetadata) -> BucketState | None:
    bucket = await metadata.buckets.get(DEFAULT_TENANT, "films")
    return bucket.state if bucket else None


async def test_bucket_with_objects_is_refused_and_unharmed(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"x")
    with pytest.raises(BucketNotEmpty):
        await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is BucketState.ACTIVE
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is None
    with pytest.raises(BucketNotFound):
        await delete_bucket(runtime, DEFAULT_TENANT, "films")


async def test_upload_under_way_is_fenced_in_any_number_of_batches(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BATCH", 1)

    async def nested(depth: int) -> AsyncIterator[bytes]:
        yield b"x"
        if depth:
            request = PutRequest(DEFAULT_TENANT, "films", f"k{depth}")
            with pytest.raises(Fenced):
                await put_object(runtime, request, nested(depth - 1))
        else:
            await delete_bucket(runtime, DEFAULT_TENANT, "films")

    request = PutRequest(DEFAULT_TENANT, "films", "first")
    with pytest.raises(Fenced):
        await put_object(runtime, request, nested(3))
    await runtime.tasks.drain(5)
    assert await state(metadata) is None
    assert not metadata.versions.versions
    # What the fenced owners still sent under their leases, the tombstones' second look finds.
    metadata.clock.advance(101)
    await sweep(runtime)
    assert not blobs.blobs


async def test_deletion_that_died_half_way_goes_on_or_is_reverted(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(b"x")
    bucket = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert bucket is not None
    await metadata.buckets.begin_delete(DEFAULT_TENANT, bucket.id)
    with pytest.raises(BucketDeleting):
        await put(b"y")
    with pytest.raises(BucketNotEmpty):
        await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is BucketState.ACTIVE
    await put(b"y")


async def test_deletion_that_another_one_reverted_removes_nothing(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_content = metadata.versions.has_content
    looks = 0

    async def looked(*args: object) -> bool:
        nonlocal looks
        looks += 1
        found = await has_content(*args)  # type: ignore[arg-type]
        if looks == 2:  # another deletion reverts, an object comes, a third one begins
            bucket = next(iter(metadata.buckets.buckets.values()))
            nonce = metadata.buckets.deletions[bucket.id]
            await metadata.buckets.revert_delete(DEFAULT_TENANT, bucket.id, nonce)
            await put_object(runtime, PutRequest(DEFAULT_TENANT, "films", "a"), chunked(b"x"))
            await metadata.buckets.begin_delete(DEFAULT_TENANT, bucket.id)
        return found

    monkeypatch.setattr(metadata.versions, "has_content", looked)
    with pytest.raises(BucketDeleting):
        await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is BucketState.DELETING
    assert len(metadata.versions.versions) == 1


async def test_store_that_fails_leaves_a_deletion_to_be_repeated(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        async def down(*_: object, **__: object) -> None:
            raise StoreUnavailable

        patch.setattr(metadata.uploads, "undoable_in", down)
        with pytest.raises(StoreUnavailable):
            await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is BucketState.DELETING
    await delete_bucket(runtime, DEFAULT_TENANT, "films")
    assert await state(metadata) is None
