"""The sweeper on stores in memory: what it finishes, what it undoes, what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import OutcomeUnknown, StoreUnavailable
from service.model.ids import DEFAULT_TENANT, UploadId
from service.model.preconditions import Preconditions
from service.model.upload import Upload, UploadState
from service.settings import MIB
from service.usecases.delete_object import delete_object
from service.usecases.put_object import PutRequest, put_object
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, some_bytes
from tests.usecases.test_put_object import read_back


async def crash_in_body(runtime: Runtime, size: int) -> None:
    """An owner that dies while its client sends: no undo of its own, the lease just runs out."""

    async def endless() -> AsyncIterator[bytes]:
        yield some_bytes(size)
        died.set()
        await asyncio.sleep(60)

    died = asyncio.Event()
    request = PutRequest(DEFAULT_TENANT, "films", "a")
    task = asyncio.create_task(put_object(runtime, request, endless()))
    await died.wait()
    with pytest.MonkeyPatch.context() as patch:

        async def dead(*_: object) -> None:
            raise StoreUnavailable

        patch.setattr(runtime.metadata.uploads, "begin_undo", dead)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runtime.tasks.drain(1)


async def crash_before_commit(
    metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """data: of a multipart; a smaller body is committed from `open`."""
    with monkeypatch.context() as patch:

        async def die(*_: object, **__: object) -> None:
            raise OutcomeUnknown

        patch.setattr(metadata.uploads, "commit", die)
        patch.setattr(metadata.uploads, "commit_whole", die)
        with pytest.raises(OutcomeUnknown):
            await put(data)


async def test_leased_upload_is_left_alone(runtime: Runtime, metadata: FakeMetadata) -> None:
    await crash_in_body(runtime, 12 * MIB)
    report = await sweep(runtime)
    assert report.aborted == 0
    assert report.open == 1


async def test_abandoned_upload_is_undone_without_a_trace(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    await crash_in_body(runtime, 12 * MIB)
    assert blobs.multiparts
    metadata.clock.advance(31)
    report = await sweep(runtime)
    assert (report.aborted, report.open, report.tombstones) == (1, 0, 1)
    assert not blobs.multiparts
    assert not blobs.blobs


async def test_tombstone_looks_once_more_and_is_forgotten(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    await crash_in_body(runtime, 12 * MIB)
    metadata.clock.advance(31)
    await sweep(runtime)
    upload = next(iter(metadata.uploads.uploads.values()))
    blobs.blobs[upload.intent.blob_key] = b"late zombie"
    metadata.clock.advance(101)
    report = await sweep(runtime)
    assert report.tombstones == 0
    assert not blobs.blobs


async def test_whole_multipart_without_commit_is_rolled_forward(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_bytes(12 * MIB)
    await crash_before_commit(metadata, put, monkeypatch, data)
    metadata.clock.advance(31)
    report = await sweep(runtime)
    assert (report.rolled_forward, report.aborted) == (1, 0)
    assert await read_back(runtime) == data


async def test_small_blob_without_commit_is_undone(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await crash_before_commit(metadata, put, monkeypatch, b"never acknowledged")
    assert blobs.blobs
    metadata.clock.advance(31)
    report = await sweep(runtime)
    assert (report.rolled_forward, report.aborted) == (0, 1)
    assert not blobs.blobs


async def test_old_upload_never_overwrites_a_newer_acknowledged_one(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crash_before_commit(metadata, put, monkeypatch, some_bytes(6 * MIB))
    await put(b"new")
    metadata.clock.advance(31)
    report = await sweep(runtime)
    assert (report.rolled_forward, report.aborted) == (0, 1)
    assert await read_back(runtime) == b"new"


async def test_delete_in_between_counts_as_newer(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(b"first")
    await crash_before_commit(metadata, put, monkeypatch, some_bytes(6 * MIB))
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    metadata.clock.advance(31)
    assert (await sweep(runtime)).aborted == 1


async def test_dead_blob_goes_after_the_grace(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"old")
    await put(b"new")
    assert (await sweep(runtime)).blobs_deleted == 0
    metadata.clock.advance(1001)
    assert (await sweep(runtime)).blobs_deleted == 1
    assert list(blobs.blobs.values()) == [b"new"]
    assert len(metadata.versions.versions) == 1


async def test_store_that_is_down_leaves_the_upload_for_the_next_pass(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await crash_in_body(runtime, 12 * MIB)
    metadata.clock.advance(31)
    with monkeypatch.context() as patch:

        async def down(*_: object) -> None:
            raise StoreUnavailable

        patch.setattr(blobs, "abort", down)
        report = await sweep(runtime)
    assert (report.failed, report.open) == (1, 1)
    assert {u.state for u in metadata.uploads.uploads.values()} == {UploadState.UNDOING}
    metadata.clock.advance(31)
    assert (await sweep(runtime)).aborted == 1
    assert not blobs.multiparts


async def test_two_sweepers_at_once_settle_each_upload_once(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    for _ in range(5):
        await crash_in_body(runtime, 6 * MIB)
    metadata.clock.advance(31)
    one, other = await asyncio.gather(sweep(runtime), sweep(runtime))
    assert one.aborted + other.aborted == 5
    assert one.failed + other.failed == 0


async def test_one_broken_entry_does_not_stop_the_sweep(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crash_in_body(runtime, 6 * MIB)
    await crash_in_body(runtime, 6 * MIB)
    metadata.clock.advance(31)
    broken = next(iter(metadata.uploads.uploads))
    take_over = metadata.uploads.take_over

    async def buggy(upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        if upload == broken:
            raise KeyError("a bug")
        return await take_over(upload, owner, lease_s)

    monkeypatch.setattr(metadata.uploads, "take_over", buggy)
    report = await sweep(runtime)
    assert (report.aborted, report.failed) == (1, 1)
