"""Copies on stores in memory: what becomes visible, what is left behind, what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from service.errors import (
    BlobMissing,
    BucketDeleting,
    BucketNotFound,
    IdempotencyMismatch,
    ObjectNotFound,
    OutcomeUnknown,
    PreconditionFailed,
    RequestInProgress,
    StoreUnavailable,
    TooLarge,
    UnsupportedMedia,
)
from service.model.bucket import BucketSettings, BucketState
from service.model.ids import DEFAULT_TENANT, BlobKey, VersionId
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Idempotency, UploadState
from service.model.version import ObjectFacts, Version
from service.settings import GIB, MAX_PARTS, MIB, TIB
from service.usecases.copy_object import CopyRequest, Source, copy_object
from service.usecases.delete_object import delete_object
from service.usecases.put_object import PutResult
from service.usecases.runtime import Runtime
from service.usecases.store_copy import slices
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, some_bytes

CREATE_ONLY = Preconditions(if_none_match=EntityTags(any=True))
FACTS = ObjectFacts(
    "video/mp4", cache_control="no-cache", user_metadata={"title": "Ä"}, tags={"a": "b"}
)
ONCE = Idempotency("somebody", "once", 0, "the same")


async def copy(
    runtime: Runtime, key: str = "b", source: Source | None = None, **request: Any
) -> PutResult:
    bucket = request.pop("bucket", "films")
    wanted = CopyRequest(DEFAULT_TENANT, source or Source("films", "a"), bucket, key, **request)
    return await copy_object(runtime, wanted)


def bytes_of(blobs: FakeBlobStore, version: Version) -> bytes:
    return blobs.blobs[version.blob_key]


async def latest(runtime: Runtime, key: str, bucket: str = "films") -> Version | None:
    found = await runtime.metadata.buckets.get(DEFAULT_TENANT, bucket)
    assert found is not None
    return await runtime.metadata.versions.get_latest(DEFAULT_TENANT, found.id, key)


async def assert_undone(runtime: Runtime, blobs: FakeBlobStore, *kept: PutResult) -> None:
    await runtime.tasks.drain(5)
    assert set(blobs.blobs) == {each.version.blob_key for each in kept}
    assert not blobs.multiparts
    assert await latest(runtime, "b") is None


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 17 * MIB + 3])
async def test_copy_has_bytes_facts_and_digests_of_its_original(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, size: int
) -> None:
    data = some_bytes(size)
    original = (await put(data, facts=FACTS, wanted_digests=frozenset({"sha-256"}))).version
    result = await copy(runtime)
    made = result.version
    assert result.created
    assert bytes_of(blobs, made) == bytes_of(blobs, original) == data
    assert made.blob_key != original.blob_key
    assert made.id != original.id
    assert (made.digests, made.facts) == (original.digests, original.facts)
    assert await latest(runtime, "b") == made
    assert await latest(runtime, "a") == original
    assert not blobs.multiparts
    assert runtime.budget.used_bytes == 0


async def test_copy_into_another_bucket_that_is_there(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await metadata.buckets.create(DEFAULT_TENANT, "stills", BucketSettings())
    await put(b"bytes")
    made = (await copy(runtime, bucket="stills")).version
    assert await latest(runtime, "b", "stills") == made
    with pytest.raises(BucketNotFound):
        await copy(runtime, bucket="nowhere")
    with pytest.raises(BucketNotFound):
        await copy(runtime, source=Source("nowhere", "a"))


async def test_copy_onto_itself_is_a_new_version(runtime: Runtime, put: Put) -> None:
    original = (await put(b"bytes")).version
    result = await copy(runtime, "a")
    assert not result.created
    assert result.version.id != original.id
    assert await latest(runtime, "a") == result.version


async def test_copy_lives_on_when_the_original_is_gone(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"bytes")
    made = (await copy(runtime)).version
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    metadata.clock.advance(10_000)
    await sweep(runtime)
    assert blobs.blobs == {made.blob_key: b"bytes"}


@pytest.mark.parametrize(
    "source",
    [
        Source("films", "never"),
        Source("films", "a", VersionId("01ARZ3NDEKTSV4RRFFQ69G5FAV")),
        Source("films", "gone"),
    ],
)
async def test_source_that_is_not_there_is_not_found(
    runtime: Runtime, put: Put, source: Source
) -> None:
    await put(b"bytes")
    await put(b"bytes", "gone")
    await delete_object(runtime, DEFAULT_TENANT, "films", "gone", Preconditions())
    with pytest.raises(ObjectNotFound):
        await copy(runtime, source=source)


async def test_preconditions_hold_on_both_sides(runtime: Runtime, put: Put) -> None:
    original, there = (await put(b"bytes")).version, (await put(b"there", "b")).version
    other = Preconditions(if_match=EntityTags((EntityTag(there.etag),)))
    with pytest.raises(PreconditionFailed):
        await copy(runtime, source=Source("films", "a", preconditions=other))
    with pytest.raises(PreconditionFailed):
        await copy(runtime, preconditions=CREATE_ONLY)
    mine = Preconditions(if_match=EntityTags((EntityTag(original.etag),)))
    source = Source("films", "a", preconditions=mine)
    assert not (await copy(runtime, source=source, preconditions=other)).created


async def test_destination_is_checked_inside_the_commit_too(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await put(b"bytes")
    store_copy, rivals = blobs.copy, []

    async def beaten(*args: Any) -> None:
        rivals.append(await put(b"rival", "b"))
        await store_copy(*args)

    monkeypatch.setattr(blobs, "copy", beaten)
    with pytest.raises(PreconditionFailed):
        await copy(runtime, preconditions=CREATE_ONLY)
    await runtime.tasks.drain(5)
    assert await latest(runtime, "b") == rivals[0].version
    assert set(blobs.blobs) == {first.version.blob_key, rivals[0].version.blob_key}


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (BucketSettings(max_object_size_bytes=4), TooLarge),
        (BucketSettings(allowed_content_types=("image/*",)), UnsupportedMedia),
        (BucketSettings(allowed_content_types=("video/*",)), UnsupportedMedia),
    ],
)
async def test_limits_of_the_destination_hold(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    settings: BucketSettings,
    error: type[Exception],
) -> None:
    """The last case declares a video and looks like an image."""
    kept = await put(b"\x89PNG\r\n\x1a\n" + bytes(100), facts=FACTS)
    await metadata.buckets.create(DEFAULT_TENANT, "strict", settings)
    with pytest.raises(error):
        await copy(runtime, bucket="strict")
    await assert_undone(runtime, blobs, kept)


async def test_limit_of_the_service_holds(runtime: Runtime, put: Put) -> None:
    await put(bytes(100))
    limits = runtime.settings.limits.model_copy(update={"max_object_bytes": 99})
    strict = replace(runtime, settings=runtime.settings.model_copy(update={"limits": limits}))
    with pytest.raises(TooLarge):
        await copy(strict)


async def test_bucket_that_is_being_deleted_takes_no_copy(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"bytes")
    gone = await metadata.buckets.create(DEFAULT_TENANT, "going", BucketSettings())
    metadata.buckets.buckets[gone.id] = replace(gone, state=BucketState.DELETING)
    with pytest.raises(BucketDeleting):
        await copy(runtime, bucket="going")


async def test_source_that_goes_in_mid_copy_is_not_found(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = (await put(some_bytes(6 * MIB))).version
    copy_part = blobs.copy_part

    async def after_it_went(*args: Any) -> Any:
        await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
        blobs.blobs.pop(original.blob_key, None)
        return await copy_part(*args)

    monkeypatch.setattr(blobs, "copy_part", after_it_went)
    with pytest.raises(ObjectNotFound):
        await copy(runtime)
    await assert_undone(runtime, blobs)


async def test_version_whose_blob_is_missing_is_an_internal_error(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    del blobs.blobs[(await put(b"bytes")).version.blob_key]
    with pytest.raises(BlobMissing):
        await copy(runtime)
    await assert_undone(runtime, blobs)


async def test_copy_of_damaged_bytes_is_not_taken_for_the_original(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    for size in (5, 6 * MIB):
        kept = await put(bytes(size))
        blobs.blobs[kept.version.blob_key] = b"x" * size
        with pytest.raises(StoreUnavailable) as caught:
            await copy(runtime)
        assert not isinstance(caught.value, OutcomeUnknown)
        await runtime.tasks.drain(5)
        assert await latest(runtime, "b") is None
        assert not blobs.multiparts


@pytest.mark.parametrize("done", [True, False])
async def test_lost_answer_of_a_copy_is_looked_up(
    runtime: Runtime,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    done: bool,
) -> None:
    kept = await put(b"bytes")
    store_copy = blobs.copy

    async def lossy(*args: Any) -> None:
        if done:
            await store_copy(*args)
        raise OutcomeUnknown

    monkeypatch.setattr(blobs, "copy", lossy)
    if done:
        assert (await copy(runtime)).created
        return
    with pytest.raises(OutcomeUnknown):
        await copy(runtime)
    await assert_undone(runtime, blobs, kept)


async def test_copy_that_arrives_after_its_undo_is_found_by_the_second_look(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = await put(b"bytes")
    store_copy, late = blobs.copy, []

    async def lost(*args: Any) -> None:
        late.append(args)
        raise OutcomeUnknown

    monkeypatch.setattr(blobs, "copy", lost)
    with pytest.raises(OutcomeUnknown):
        await copy(runtime)
    await runtime.tasks.drain(5)
    await store_copy(*late[0])
    assert len(blobs.blobs) == 2
    metadata.clock.advance(101)
    await sweep(runtime)
    assert set(blobs.blobs) == {kept.version.blob_key}


async def test_failed_part_ends_the_others_and_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await put(some_bytes(23 * MIB))
    copy_part = blobs.copy_part

    async def third_fails(*args: Any) -> Any:
        await asyncio.sleep(0)
        if args[-1] == 3:
            raise StoreUnavailable("the third")
        return await copy_part(*args)

    monkeypatch.setattr(blobs, "copy_part", third_fails)
    with pytest.raises(StoreUnavailable, match="the third"):
        await copy(runtime)
    await assert_undone(runtime, blobs, kept)


async def test_client_that_goes_away_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await put(some_bytes(23 * MIB))
    stuck = asyncio.Event()

    async def hangs(*args: Any) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(blobs, "copy_part", hangs)
    request = asyncio.create_task(copy(runtime))
    await stuck.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await assert_undone(runtime, blobs, kept)


async def test_retry_under_an_idempotency_key_gets_the_first_answer(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    await put(b"bytes")
    first = await copy(runtime, idempotency=ONCE)
    await put(b"other bytes", "b")
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    again = await copy(runtime, idempotency=ONCE)
    assert again.replayed
    assert again.version == first.version
    with pytest.raises(IdempotencyMismatch):
        await copy(runtime, idempotency=replace(ONCE, fingerprint="another"))


async def test_refused_copy_frees_its_idempotency_key(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    with pytest.raises(ObjectNotFound):
        await copy(runtime, idempotency=ONCE)
    states = {upload.state for upload in metadata.uploads.uploads.values()}
    assert states == {UploadState.UNDONE}
    await put(b"bytes")
    assert not (await copy(runtime, idempotency=ONCE)).replayed


async def test_copy_under_way_holds_its_idempotency_key(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(b"bytes")
    store_copy = blobs.copy
    refused: list[BaseException] = []

    async def asked_again(source: BlobKey, key: BlobKey, size_bytes: int) -> None:
        with pytest.raises(RequestInProgress) as caught:
            await copy(runtime, idempotency=ONCE)
        refused.append(caught.value)
        await store_copy(source, key, size_bytes)

    monkeypatch.setattr(blobs, "copy", asked_again)
    await copy(runtime, idempotency=ONCE)
    assert len(refused) == 1


@pytest.mark.parametrize("size", [64 * MIB + 1, 5 * GIB, 700 * GIB, 5 * TIB - 1, 5 * TIB])
def test_slices_are_parts_that_the_store_takes(size: int) -> None:
    parts = list(slices(size, 64 * MIB))
    assert [number for number, _, _ in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= MAX_PARTS
    assert parts[0][1] == 0
    assert parts[-1][2] == size
    assert all(one[2] == other[1] for one, other in pairwise(parts))
    assert all(64 * MIB <= end - start <= 5 * GIB for _, start, end in parts[:-1])
