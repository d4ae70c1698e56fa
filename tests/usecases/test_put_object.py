"""PUT on stores in memory: what becomes visible, what is left behind, what it answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    DigestMismatch,
    Fenced,
    IdempotencyMismatch,
    IncompleteBody,
    OutcomeUnknown,
    PreconditionFailed,
    RequestInProgress,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    UnsupportedMedia,
)
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT, BlobKey, MultipartId, UploadId
from service.model.preconditions import EntityTags, Preconditions
from service.model.upload import Idempotency, Intent, Part, Upload, UploadState
from service.model.version import ObjectFacts
from service.settings import MIB, Limits, Uploads
from service.usecases import leases
from service.usecases.byte_budget import ByteBudget
from service.usecases.delete_bucket import delete_bucket
from service.usecases.delete_object import delete_object
from service.usecases.get_object import find_version, read_version
from service.usecases.put_object import PutRequest, put_object
from service.usecases.runtime import Runtime
from tests.fakes.blob_store import FakeBlobStore, crc_of
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, chunked, some_bytes

CREATE_ONLY = Preconditions(if_none_match=EntityTags(any=True))


async def read_back(runtime: Runtime, key: str = "a") -> bytes:
    _, version = await find_version(runtime, DEFAULT_TENANT, "films", key)
    if version.size_bytes == 0:
        return b""
    async with read_version(runtime, version, 0, version.size_bytes) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def assert_nothing_left(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    await runtime.tasks.drain(5)
    assert not blobs.blobs
    assert not blobs.multiparts
    states = {upload.state for upload in metadata.uploads.uploads.values()}
    assert states <= {UploadState.UNDONE}


async def test_slow_bodies_of_unknown_length_that_begin_together_do_not_all_hold_large_parts(
    runtime: Runtime, blobs: FakeBlobStore
) -> None:
    """Each would keep all that it sent until its end, and the budget holds a few of them."""
    limits = Limits(byte_budget_bytes=64 * MIB)
    uploads = Uploads(part_bytes=5 * MIB, large_part_bytes=10 * MIB, parts_in_flight=1)
    settings = runtime.settings.model_copy(update={"uploads": uploads, "limits": limits})
    roomy = replace(runtime, settings=settings, budget=ByteBudget(limits.byte_budget_bytes))
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield bytes(MIB)
        await go_on.wait()
        yield b"end"

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            request = PutRequest(DEFAULT_TENANT, "films", f"slow-{number}")
            group.create_task(put_object(roomy, request, slow()))
        await asyncio.sleep(0.3)
        stored = len(blobs.multiparts)
        go_on.set()
    assert stored == 5
    assert roomy.budget.used_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 23 * MIB])
@pytest.mark.parametrize("declared", [True, False])
async def test_body_of_any_length_comes_back(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, size: int, declared: bool
) -> None:
    data = some_bytes(size)
    result = await put(data, declared_size_bytes=size if declared else None)
    assert result.created
    assert result.version.size_bytes == size
    assert result.version.digests["crc64nvme"] == crc_of(data)
    assert await read_back(runtime) == data
    assert not blobs.multiparts


async def test_overwrite_makes_a_new_version_and_kills_the_old(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    first = await put(b"old")
    second = await put(b"new")
    assert not second.created
    assert second.version.seq > first.version.seq
    assert await read_back(runtime) == b"new"
    assert list(metadata.versions.dead_since) == [first.version.id]


async def test_digests_are_computed_and_checked(put: Put) -> None:
    data = some_bytes(12 * MIB)
    sha = hashlib.sha256(data).digest()
    result = await put(data, expected_digests={"sha-256": sha}, wanted_digests=frozenset({"md5"}))
    assert result.version.digests["sha-256"] == sha
    assert result.version.digests["md5"] == hashlib.md5(data).digest()


@pytest.mark.parametrize("size", [10, 12 * MIB])
async def test_wrong_digest_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put, size: int
) -> None:
    with pytest.raises(DigestMismatch):
        await put(some_bytes(size), expected_digests={"sha-256": b"x" * 32})
    await assert_nothing_left(runtime, blobs, metadata)


@pytest.mark.parametrize("size", [10, 12 * MIB])
async def test_body_shorter_than_declared_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put, size: int
) -> None:
    with pytest.raises(IncompleteBody):
        await put(some_bytes(size), declared_size_bytes=size + 1)
    await assert_nothing_left(runtime, blobs, metadata)


async def test_broken_body_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for chunk in chunked(some_bytes(12 * MIB)):
            yield chunk
        raise IncompleteBody

    with pytest.raises(IncompleteBody):
        await put_object(runtime, PutRequest(DEFAULT_TENANT, "films", "a"), broken())
    await assert_nothing_left(runtime, blobs, metadata)


async def test_cancelled_upload_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    stuck = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        async for chunk in chunked(some_bytes(12 * MIB)):
            yield chunk
        stuck.set()
        await asyncio.sleep(60)

    request = PutRequest(DEFAULT_TENANT, "films", "a")
    task = asyncio.create_task(put_object(runtime, request, endless()))
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_nothing_left(runtime, blobs, metadata)


async def test_commit_survives_the_cancellation_of_its_request(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    complete = metadata.uploads.complete

    async def slow(*args: object) -> None:
        reached.set()
        await go_on.wait()
        await complete(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(metadata.uploads, "complete", slow)
    request = PutRequest(DEFAULT_TENANT, "films", "a")
    kept = some_bytes(6 * MIB)
    task = asyncio.create_task(put_object(runtime, request, chunked(kept)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await runtime.tasks.drain(5)
    assert await read_back(runtime) == kept


@pytest.mark.parametrize("sent", [False, True])
async def test_small_upload_of_a_lost_client_is_kept_only_if_its_commit_was_sent(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    monkeypatch: pytest.MonkeyPatch,
    sent: bool,
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    commit = metadata.uploads.commit_whole

    async def slow(*args: Any, **kwargs: Any) -> Upload:
        committed = await commit(*args, **kwargs) if sent else None
        reached.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            if not sent:
                raise
        return committed

    monkeypatch.setattr(metadata.uploads, "commit_whole", slow)
    request = PutRequest(DEFAULT_TENANT, "films", "a")
    task = asyncio.create_task(put_object(runtime, request, chunked(b"small")))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await runtime.tasks.drain(5)
    if sent:
        assert await read_back(runtime) == b"small"
    else:
        await assert_nothing_left(runtime, blobs, metadata)


@pytest.mark.parametrize("newer", [False, True])
async def test_large_upload_whose_client_leaves_during_the_commit_is_kept_unless_something_is_newer(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    newer: bool,
) -> None:
    """Its commit was not sent yet, as with a metadata store that takes its time."""
    reached, ended = asyncio.Event(), asyncio.Event()
    commit = metadata.uploads.commit

    async def slow(*args: Any, **kwargs: Any) -> Upload:
        if not reached.is_set():
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                await ended.wait()  # a transaction under way is waited for
        return await commit(*args, **kwargs)

    monkeypatch.setattr(metadata.uploads, "commit", slow)
    request = PutRequest(DEFAULT_TENANT, "films", "a")
    large = some_bytes(6 * MIB)
    task = asyncio.create_task(put_object(runtime, request, chunked(large)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if newer:
        await put(b"second try")
    ended.set()
    await runtime.tasks.drain(5)
    assert await read_back(runtime) == (b"second try" if newer else large)


async def test_known_length_over_the_limit_is_refused_before_the_body(runtime: Runtime) -> None:
    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    request = PutRequest(DEFAULT_TENANT, "films", "a", declared_size_bytes=64 * MIB + 1)
    with pytest.raises(TooLarge):
        await put_object(runtime, request, never())


async def test_unknown_length_over_the_limit_is_cut_off(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await metadata.buckets.create(
        DEFAULT_TENANT, "small", BucketSettings(max_object_size_bytes=6 * MIB)
    )
    request = PutRequest(DEFAULT_TENANT, "small", "a")
    with pytest.raises(TooLarge):
        await put_object(runtime, request, chunked(some_bytes(7 * MIB)))
    await assert_nothing_left(runtime, blobs, metadata)


async def test_create_only_refuses_an_existing_key(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    await put(b"first", preconditions=CREATE_ONLY)
    with pytest.raises(PreconditionFailed):
        await put(b"second", preconditions=CREATE_ONLY)
    assert await read_back(runtime) == b"first"
    assert len(blobs.blobs) == 1


async def test_precondition_that_fails_only_at_the_commit_undoes_the_upload(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        yield b"late"
        await put(b"winner")

    request = PutRequest(DEFAULT_TENANT, "films", "a", preconditions=CREATE_ONLY)
    with pytest.raises(PreconditionFailed):
        await put_object(runtime, request, overtaken())
    await runtime.tasks.drain(5)
    assert await read_back(runtime) == b"winner"
    assert len(blobs.blobs) == 1


async def test_unknown_and_deleting_buckets_are_refused(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    with pytest.raises(BucketNotFound):
        await put_object(runtime, PutRequest(DEFAULT_TENANT, "none", "a"), chunked(b"x"))
    bucket = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert bucket is not None
    await metadata.buckets.begin_delete(DEFAULT_TENANT, bucket.id)
    with pytest.raises(BucketDeleting):
        await put(b"x")


async def test_bucket_decides_which_types_it_takes(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
) -> None:
    settings = BucketSettings(allowed_content_types=("image/*",))
    await metadata.buckets.create(DEFAULT_TENANT, "images", settings)
    with pytest.raises(UnsupportedMedia):
        await put_object(runtime, PutRequest(DEFAULT_TENANT, "images", "a"), chunked(b"x"))
    lying = PutRequest(DEFAULT_TENANT, "images", "a", facts=ObjectFacts(content_type="image/png"))
    with pytest.raises(UnsupportedMedia):
        await put_object(runtime, lying, chunked(b"<!doctype html><script>x</script>"))
    await assert_nothing_left(runtime, blobs, metadata)


def idempotent(fingerprint: str = "f") -> Idempotency:
    return Idempotency("key", "token", 0, fingerprint)


async def test_replay_gets_the_first_answer_even_after_an_overwrite(
    runtime: Runtime, put: Put
) -> None:
    first = await put(b"once", idempotency=idempotent())
    await put(b"other")
    again = await put(b"once", idempotency=idempotent())
    assert again.replayed
    assert again.version == first.version
    assert again.created
    assert await read_back(runtime) == b"other"


async def test_idempotency_key_of_another_request_is_refused(put: Put) -> None:
    await put(b"once", idempotency=idempotent())
    with pytest.raises(IdempotencyMismatch):
        await put(b"once", idempotency=idempotent("another"))


async def test_second_request_while_the_first_runs_is_told_to_wait(
    runtime: Runtime, put: Put
) -> None:
    async def impatient() -> AsyncIterator[bytes]:
        yield b"a"
        with pytest.raises(RequestInProgress):
            await put(b"a", idempotency=idempotent())
        yield b"b"

    request = PutRequest(DEFAULT_TENANT, "films", "a", idempotency=idempotent())
    await put_object(runtime, request, impatient())
    assert await read_back(runtime) == b"ab"


async def test_failed_upload_frees_its_idempotency_key(runtime: Runtime, put: Put) -> None:
    with pytest.raises(IncompleteBody):
        await put(b"x", declared_size_bytes=5, idempotency=idempotent())
    await runtime.tasks.drain(5)
    assert (await put(b"x", idempotency=idempotent())).created


async def test_lost_answer_of_create_multipart_goes_on_under_a_fresh_key(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = blobs.create_multipart
    lost: list[BlobKey] = []

    async def lossy(key: BlobKey, *, of_copies: bool) -> MultipartId:
        made = await create(key)
        if not lost:
            lost.append(key)
            raise OutcomeUnknown
        return made

    monkeypatch.setattr(blobs, "create_multipart", lossy)
    data = some_bytes(12 * MIB)
    result = await put(data)
    assert await read_back(runtime) == data
    assert result.version.blob_key != lost[0]
    upload = next(iter(metadata.uploads.uploads.values()))
    assert [used.blob_key for used in upload.leftovers] == lost


async def test_store_that_answers_no_create_is_given_up_after_one_timeout(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[BlobKey] = []
    timeout_s = 0.1
    s3 = runtime.settings.s3.model_copy(update={"request_timeout_s": timeout_s})
    settings = runtime.settings.model_copy(update={"s3": s3})

    async def silent(key: BlobKey, *, of_copies: bool) -> MultipartId:
        asked.append(key)
        await asyncio.sleep(timeout_s)
        raise OutcomeUnknown

    monkeypatch.setattr(blobs, "create_multipart", silent)
    object.__setattr__(runtime, "settings", settings)
    with pytest.raises(StoreUnavailable):
        await put(some_bytes(12 * MIB))
    assert len(asked) == 1
    await assert_nothing_left(runtime, blobs, metadata)


@pytest.mark.parametrize("applied", [True, False])
async def test_lost_answer_of_complete_is_settled_by_head(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    applied: bool,
) -> None:
    complete = blobs.complete

    async def lossy(
        key: BlobKey, multipart_id: MultipartId, parts: Sequence[Part], crc64nvme: bytes
    ) -> None:
        if applied:
            await complete(key, multipart_id, parts, crc64nvme)
        raise OutcomeUnknown

    monkeypatch.setattr(blobs, "complete", lossy)
    data = some_bytes(12 * MIB)
    if applied:
        await put(data)
        assert await read_back(runtime) == data
    else:
        with pytest.raises(OutcomeUnknown):
            await put(data)
        await assert_nothing_left(runtime, blobs, metadata)


@pytest.mark.parametrize("operation", ["create_multipart", "complete"])
async def test_store_that_has_no_time_now_is_asked_again(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    """`SlowDown` for one small request must not cost the client its whole upload."""
    real, refusals = getattr(blobs, operation), [StoreUnavailable, StoreUnavailable]

    async def busy(*args: object, **options: object) -> object:
        if refusals:
            raise refusals.pop()
        return await real(*args, **options)

    monkeypatch.setattr(blobs, operation, busy)
    data = some_bytes(12 * MIB)
    await put(data)
    assert await read_back(runtime) == data
    assert len(blobs.blobs) == 1
    upload = next(iter(metadata.uploads.uploads.values()))
    assert not upload.leftovers


@pytest.mark.parametrize("operation", ["create_multipart", "complete"])
async def test_store_that_never_has_time_is_asked_three_times(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    asked: list[str] = []

    async def busy(*_: object, **__: object) -> None:
        asked.append(operation)
        raise StoreUnavailable

    monkeypatch.setattr(blobs, operation, busy)
    with pytest.raises(StoreUnavailable):
        await put(some_bytes(12 * MIB))
    assert len(asked) == 3
    await assert_nothing_left(runtime, blobs, metadata)


async def test_upload_that_was_taken_over_stops_and_says_so(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    async def paused() -> AsyncIterator[bytes]:
        yield b"x"
        upload = next(iter(metadata.uploads.uploads.values()))
        assert await metadata.uploads.fence(upload.ref.id, "sweeper", 30) is not None
        yield b"y"

    with pytest.raises(Fenced):
        await put_object(runtime, PutRequest(DEFAULT_TENANT, "films", "a"), paused())
    await runtime.tasks.drain(5)
    assert (
        await metadata.versions.get_latest(
            DEFAULT_TENANT, next(iter(metadata.buckets.buckets)), "a"
        )
        is None
    )


async def test_failed_part_ends_the_upload_and_leaves_nothing(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload_part = blobs.upload_part

    async def second_fails(
        key: BlobKey, multipart_id: MultipartId, number: int, chunks: Sequence[bytes], crc: bytes
    ) -> Part:
        if number == 2:
            raise StoreUnavailable
        return await upload_part(key, multipart_id, number, chunks, crc)

    monkeypatch.setattr(blobs, "upload_part", second_fails)
    with pytest.raises(StoreUnavailable):
        await put(some_bytes(23 * MIB))
    await assert_nothing_left(runtime, blobs, metadata)


async def test_abandoned_commit_never_overwrites_what_came_after(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gave up on its first try and had its second acknowledged."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    complete = metadata.uploads.complete

    async def slow(*args: object) -> None:
        await complete(*args)  # type: ignore[arg-type]
        if not reached.is_set():
            reached.set()
            await go_on.wait()

    monkeypatch.setattr(metadata.uploads, "complete", slow)
    request = PutRequest(DEFAULT_TENANT, "films", "a")
    first = chunked(some_bytes(6 * MIB))
    task = asyncio.create_task(put_object(runtime, request, first))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await put(b"second try")
    go_on.set()
    await runtime.tasks.drain(5)
    assert await read_back(runtime) == b"second try"


async def test_failure_that_could_not_be_undone_is_told_as_unknown(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StoreFull

    async def down(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(metadata.uploads, "commit_whole", full)
        patch.setattr(metadata.uploads, "begin_undo", down)
        with pytest.raises(OutcomeUnknown):
            await put(b"x")


@pytest.mark.parametrize(("step", "size"), [("commit", 6 * MIB), ("commit_whole", 1)])
async def test_commit_that_others_finished_is_a_success(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    size: int,
) -> None:
    commit, overtakes = getattr(metadata.uploads, step), 0

    async def overtaken(*args: object, **kwargs: object) -> None:
        nonlocal overtakes
        overtakes += 1
        await commit(*args, **kwargs)
        raise Fenced

    monkeypatch.setattr(metadata.uploads, step, overtaken)
    data = some_bytes(size)
    assert (await put(data)).created
    assert await read_back(runtime) == data
    assert overtakes == 1


@pytest.mark.parametrize("seen", [UploadState.OPEN, UploadState.COMPLETING])
async def test_refusal_that_may_have_followed_an_own_commit_is_told_as_unknown(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    seen: UploadState,
) -> None:
    """A rerun sees its own first run's version and fails its precondition; what the majority shows
    of the upload may still be older."""
    commit, get = metadata.uploads.commit_whole, metadata.uploads.get

    async def lagging(*args: Any, **kwargs: Any) -> None:
        await commit(*args, **kwargs)
        raise PreconditionFailed

    async def older(upload: UploadId) -> Upload | None:
        found = await get(upload)
        return found and replace(found, state=seen)

    monkeypatch.setattr(metadata.uploads, "commit_whole", lagging)
    monkeypatch.setattr(metadata.uploads, "get", older)
    with pytest.raises(OutcomeUnknown):
        await put(b"x")
    assert await read_back(runtime) == b"x"


async def test_upload_taken_over_while_it_was_admitted_sends_nothing(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admit = metadata.uploads.admit

    async def late(intent: Intent, owner: str, lease_s: float) -> Upload:
        await admit(intent, owner, lease_s)
        taken = await metadata.uploads.fence(intent.id, "deleter", lease_s)
        assert taken is not None
        return taken

    monkeypatch.setattr(metadata.uploads, "admit", late)
    with pytest.raises(Fenced):
        await put(b"x")
    assert not blobs.blobs


async def test_owner_that_lost_its_lease_long_ago_sends_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the tombstone's second look nobody would find what it made."""

    async def paused() -> AsyncIterator[bytes]:
        yield b"x"
        upload = next(iter(metadata.uploads.uploads.values()))
        fenced = await metadata.uploads.fence(upload.ref.id, "sweeper", 30)
        assert fenced is not None
        await metadata.uploads.finish_undo(fenced.ref, 0)
        await metadata.uploads.forget(upload.ref.id)
        now = leases._boot_time_s()
        monkeypatch.setattr(leases, "_boot_time_s", lambda: now + 3600)

    with pytest.raises(Fenced):
        await put_object(runtime, PutRequest(DEFAULT_TENANT, "films", "a"), paused())
    await runtime.tasks.drain(5)
    assert not blobs.blobs


async def test_replay_is_told_whatever_the_bucket_takes_by_now(
    metadata: FakeMetadata, put: Put
) -> None:
    first = await put(b"once", idempotency=idempotent(), preconditions=CREATE_ONLY)
    bucket = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert bucket is not None
    nothing = BucketSettings(allowed_content_types=("image/*",))
    await metadata.buckets.update(DEFAULT_TENANT, bucket.id, nothing, revision=1)
    again = await put(b"once", idempotency=idempotent(), preconditions=CREATE_ONLY)
    assert again.version == first.version


async def test_replay_into_a_bucket_made_again_is_another_request(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"once", idempotency=idempotent())
    await delete_object(runtime, DEFAULT_TENANT, "films", "a", Preconditions())
    await delete_bucket(runtime, DEFAULT_TENANT, "films")
    await metadata.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
    with pytest.raises(IdempotencyMismatch):
        await put(b"once", idempotency=idempotent())


async def test_lost_answer_of_admission_frees_the_idempotency_key(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = metadata.uploads.admit

    async def lossy(*args: object) -> None:
        await admit(*args)  # type: ignore[arg-type]
        raise OutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(metadata.uploads, "admit", lossy)
        with pytest.raises(OutcomeUnknown):
            await put(b"x", idempotency=idempotent())
    await runtime.tasks.drain(5)
    assert (await put(b"x", idempotency=idempotent())).created
