"""Resumable uploads on stores in memory: what is kept, who goes on, what the end makes of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.errors import (
    DigestMismatch,
    IncompleteBody,
    InconsistentLength,
    Invalid,
    OffsetMismatch,
    PreconditionFailed,
    StoreUnavailable,
    TooLarge,
    UploadComplete,
    UploadGone,
    UploadNotFound,
    UploadTakenOver,
)
from service.model.ids import DEFAULT_TENANT, TenantId, UploadId, new_id
from service.model.preconditions import EntityTags, Preconditions
from service.model.resumable import ResumableTerms, UploadKind
from service.model.upload import Upload, UploadState
from service.model.version import ObjectFacts
from service.settings import MIB
from service.usecases.byte_budget import ByteBudget
from service.usecases.digests import CRC64NVME
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.append_to_upload import Appended, append_to_upload
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.end_upload import end_upload
from service.usecases.resumable.find import find_upload, settled_upload
from service.usecases.resumable.join_uploads import join_uploads
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from service.usecases.tasks import Tasks
from tests.fakes.blob_store import FakeBlobStore, crc_of
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import some_bytes

CREATE_ONLY = Preconditions(if_none_match=EntityTags(any=True))


async def body_of(data: bytes, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for position in range(0, len(data), 100_000):
        yield data[position : position + 100_000]
    if breaks:
        raise IncompleteBody("the client went away")


class Client:
    """One client of one upload, through any of the replicas."""

    def __init__(self, runtime: Runtime, upload: Upload) -> None:
        self.runtime = runtime
        self.id = upload.ref.id

    async def patch(
        self, data: bytes, offset: int, *, breaks: bool = False, **request: Any
    ) -> Appended:
        found = await find_upload(self.runtime, DEFAULT_TENANT, self.id)
        size = None if breaks else len(data)
        wanted = AppendRequest(offset, size_bytes=size, **request)
        return await append_to_upload(self.runtime, found, wanted, body_of(data, breaks=breaks))

    async def offset(self) -> int:
        found = await find_upload(self.runtime, DEFAULT_TENANT, self.id)
        found = await settled_upload(self.runtime, found)
        if found.state is UploadState.COMMITTED:
            assert found.completion is not None
            return found.completion.size_bytes
        assert found.progress is not None
        return found.progress.offset


async def begin(runtime: Runtime, length: int | None, key: str = "k", **changes: Any) -> Client:
    terms = {
        name: changes.pop(name)
        for name in ("kind", "expected_digests", "wanted_digests")
        if name in changes
    }
    bucket = "" if terms.get("kind") is UploadKind.PARTIAL else "films"
    request = CreateRequest(
        DEFAULT_TENANT, key, ResumableTerms("who", bucket, **terms), length_bytes=length, **changes
    )
    return Client(runtime, await create_upload(runtime, request))


async def stored(runtime: Runtime, key: str = "k") -> bytes | None:
    bucket = await runtime.metadata.buckets.get(DEFAULT_TENANT, "films")
    assert bucket is not None
    version = await runtime.metadata.versions.get_latest(DEFAULT_TENANT, bucket.id, key)
    if version is None:
        return None
    data = b""
    if version.size_bytes:
        async with runtime.blobs.read(version.blob_key, 0, version.size_bytes) as chunks:
            data = b"".join([chunk async for chunk in chunks])
    assert len(data) == version.size_bytes
    assert version.digests[CRC64NVME] == crc_of(data)
    return data


async def clean(runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, left: int) -> None:
    """After everything was swept there are that many blobs, and no multipart."""
    await runtime.tasks.drain(5)
    for _ in range(4):
        await sweep(runtime)
        metadata.clock.advance(2 * 24 * 3600)
    assert len(blobs.blobs) == left
    assert blobs.multiparts == {}


@pytest.mark.parametrize("size", [0, 1, 100_000, 5 * MIB, 5 * MIB + 1, 23 * MIB + 17])
async def test_one_request_makes_the_whole(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, size: int
):
    data = some_bytes(size)
    client = await begin(runtime, size)
    done = await client.patch(data, 0)
    assert done.offset == size
    assert done.committed is not None
    assert await stored(runtime) == data
    assert await client.offset() == size
    await clean(runtime, blobs, metadata, 1)


@pytest.mark.parametrize("step", [1 * MIB, 3 * MIB + 5, 5 * MIB, 7 * MIB, 12 * MIB + 1])
async def test_many_requests_make_the_whole(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, step: int
):
    data = some_bytes(26 * MIB + 3)
    client = await begin(runtime, len(data))
    for offset in range(0, len(data), step):
        assert await client.offset() == offset
        done = await client.patch(data[offset : offset + step], offset)
        assert done.offset == min(offset + step, len(data))
    assert await stored(runtime) == data
    await clean(runtime, blobs, metadata, 1)


@pytest.mark.parametrize("cut", [1, 4 * MIB, 5 * MIB, 8 * MIB + 1, 17 * MIB])
async def test_a_body_that_breaks_off_is_kept_to_the_last_byte_that_came(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, cut: int
):
    data = some_bytes(20 * MIB)
    client = await begin(runtime, len(data))
    with pytest.raises(IncompleteBody):
        await client.patch(data[:cut], 0, breaks=True)
    assert await client.offset() == cut
    with pytest.raises(IncompleteBody):
        await client.patch(data[cut : cut + MIB], cut, breaks=True)
    assert await client.offset() == cut + MIB
    await client.patch(data[cut + MIB :], cut + MIB)
    assert await stored(runtime) == data
    await clean(runtime, blobs, metadata, 1)


async def test_another_offset_is_refused_and_changes_nothing(runtime: Runtime):
    client = await begin(runtime, 10)
    await client.patch(b"12345", 0)
    for offset in (0, 4, 6, 10):
        with pytest.raises(OffsetMismatch) as caught:
            await client.patch(b"67890", offset)
        assert caught.value.extras == {"offset": 5, "given_offset": offset}
    assert await client.offset() == 5
    await client.patch(b"67890", 5)
    assert await stored(runtime) == b"1234567890"


async def test_more_than_was_announced_is_refused(runtime: Runtime):
    client = await begin(runtime, 3)
    with pytest.raises(TooLarge):
        await client.patch(b"1234", 0)
    with pytest.raises(TooLarge):
        await client.patch(b"1234", 0, breaks=True)
    assert await client.offset() == 0


async def test_a_finished_upload_takes_nothing_and_tells_its_end_again(runtime: Runtime):
    client = await begin(runtime, 3)
    await client.patch(b"abc", 0)
    again = await client.patch(b"", 3)
    assert again.committed is not None
    with pytest.raises(UploadComplete):
        await client.patch(b"d", 3)
    with pytest.raises(OffsetMismatch):
        await client.patch(b"abc", 0)


async def test_a_length_may_come_later_and_is_told_once(runtime: Runtime):
    client = await begin(runtime, None)
    await client.patch(b"abc", 0)
    with pytest.raises(InconsistentLength):
        await client.patch(b"", 3, length_bytes=2)
    await client.patch(b"d", 3, length_bytes=6)
    with pytest.raises(InconsistentLength):
        await client.patch(b"ef", 4, length_bytes=7)
    done = await client.patch(b"ef", 4, length_bytes=6)
    assert done.committed is not None
    assert await stored(runtime) == b"abcdef"


async def test_a_length_that_is_there_already_ends_the_upload(runtime: Runtime):
    client = await begin(runtime, None)
    await client.patch(some_bytes(6 * MIB), 0)
    done = await client.patch(b"", 6 * MIB, length_bytes=6 * MIB)
    assert done.committed is not None
    assert await stored(runtime) == some_bytes(6 * MIB)


async def test_an_upload_is_closed_by_word(runtime: Runtime):
    client = await begin(runtime, 6)
    done = await client.patch(b"abcdef", 0, closes=False)
    assert done.committed is None
    assert await stored(runtime) is None
    done = await client.patch(b"", 6, closes=True)
    assert done.committed is not None
    assert await stored(runtime) == b"abcdef"


async def test_a_word_that_contradicts_the_length_is_refused(runtime: Runtime):
    client = await begin(runtime, 6)
    with pytest.raises(InconsistentLength):
        await client.patch(b"abc", 0, closes=True)
    assert await client.offset() == 0


# two at once


class Slow:
    """A body that waits for a word between its two halves."""

    def __init__(self, first: bytes, second: bytes = b"") -> None:
        self.first, self.second = first, second
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.first
        self.began.set()
        await self.go_on.wait()
        yield self.second


async def start(
    runtime: Runtime, client: Client, slow: Slow, offset: int
) -> asyncio.Task[Appended]:
    found = await find_upload(runtime, DEFAULT_TENANT, client.id)
    request = AppendRequest(offset, size_bytes=len(slow.first + slow.second))
    task = asyncio.create_task(append_to_upload(runtime, found, request, slow.chunks()))
    await slow.began.wait()
    return task


def replica_of(runtime: Runtime) -> Runtime:
    budget = ByteBudget(runtime.settings.limits.byte_budget_bytes)
    return Runtime(
        runtime.settings, runtime.blobs, runtime.metadata, budget, Tasks(), runtime.metrics
    )


async def test_a_newer_request_here_makes_the_older_one_note_what_it_has(runtime: Runtime):
    client = await begin(runtime, 10)
    slow = Slow(b"abc", b"defghij")
    task = await start(runtime, client, slow, 0)
    assert await client.offset() == 3
    with pytest.raises(IncompleteBody):
        await task
    await client.patch(b"DEFGHIJ", 3)
    assert await stored(runtime) == b"abcDEFGHIJ"


async def test_a_newer_request_elsewhere_fences_the_older_one(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client, elsewhere = await begin(runtime, 10), replica_of(runtime)
    slow = Slow(b"abc", b"defghij")
    task = await start(runtime, client, slow, 0)
    other = Client(elsewhere, await find_upload(elsewhere, DEFAULT_TENANT, client.id))
    began = asyncio.get_running_loop().time()
    assert await other.offset() == 0
    assert asyncio.get_running_loop().time() - began < 2
    await other.patch(b"ABCDE", 0)
    slow.go_on.set()
    with pytest.raises(UploadTakenOver):
        await task
    await other.patch(b"FGHIJ", 5)
    assert await stored(runtime) == b"ABCDEFGHIJ"
    await clean(runtime, blobs, metadata, 1)


async def test_no_part_number_is_used_by_two_owners(runtime: Runtime, blobs: FakeBlobStore):
    data, numbers = some_bytes(30 * MIB), list[tuple[str, int]]()
    upload_part = blobs.upload_part

    async def counted(key: Any, multipart: Any, number: int, *rest: Any, **more: Any) -> Any:
        assert (multipart, number) not in numbers
        numbers.append((multipart, number))
        return await upload_part(key, multipart, number, *rest, **more)

    blobs.upload_part = counted  # type: ignore[method-assign]
    client = await begin(runtime, len(data))
    offset = 0
    for turn in range(4):
        replica = replica_of(runtime)
        slow = Slow(data[offset : offset + 6 * MIB], b"")
        owner = Client(replica, await find_upload(replica, DEFAULT_TENANT, client.id))
        task = await start(replica, owner, slow, offset)
        while not numbers or len(numbers) <= turn:
            await asyncio.sleep(0)
        elsewhere = Client(runtime, await find_upload(runtime, DEFAULT_TENANT, client.id))
        offset = await elsewhere.offset()
        await elsewhere.patch(b"", offset)
        slow.go_on.set()
        with pytest.raises(UploadTakenOver):
            await task
    await client.patch(data[offset:], offset)
    assert await stored(runtime) == data


# what can never succeed, and what only fails now


async def test_a_precondition_counts_at_the_end(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client = await begin(runtime, 3, preconditions=CREATE_ONLY)
    other = await begin(runtime, 5)
    await other.patch(b"other", 0)
    with pytest.raises(PreconditionFailed):
        await client.patch(b"abc", 0)
    with pytest.raises(UploadGone):
        await client.offset()
    assert await stored(runtime) == b"other"
    with pytest.raises(PreconditionFailed):
        await begin(runtime, 3, preconditions=CREATE_ONLY)
    await clean(runtime, blobs, metadata, 1)


async def test_digests_of_the_whole(runtime: Runtime):
    data = some_bytes(12 * MIB)
    sha = {"sha-256": hashlib.sha256(data).digest()}
    client = await begin(
        runtime, len(data), expected_digests=sha, wanted_digests=frozenset({"md5"})
    )
    await client.patch(data[: 7 * MIB], 0)
    done = await client.patch(data[7 * MIB :], 7 * MIB)
    assert done.committed is not None
    digests = done.committed.version().digests
    assert digests["sha-256"] == sha["sha-256"]
    assert digests["md5"] == hashlib.md5(data).digest()
    wrong = await begin(runtime, len(data), key="w", expected_digests=sha)
    with pytest.raises(DigestMismatch):
        await wrong.patch(data[1:] + b"x", 0)
    assert await stored(runtime, "w") is None


async def test_a_digest_of_a_body_counts_for_all_of_it(runtime: Runtime):
    data = some_bytes(12 * MIB)
    client = await begin(runtime, len(data))
    await client.patch(data[:3], 0)
    promised = {"sha": hashlib.sha1(data[3 : 9 * MIB]).digest()}
    with pytest.raises(DigestMismatch):
        await client.patch(data[4 : 9 * MIB + 1], 3, expected_digests=promised)
    assert await client.offset() == 3
    with pytest.raises(IncompleteBody):
        await client.patch(data[3 : 8 * MIB], 3, breaks=True, expected_digests=promised)
    assert await client.offset() == 3
    await client.patch(data[3 : 9 * MIB], 3, expected_digests=promised)
    assert await client.offset() == 9 * MIB
    await client.patch(data[9 * MIB :], 9 * MIB)
    assert await stored(runtime) == data


async def test_a_store_that_fails_at_the_end_is_asked_again_by_whoever_comes(
    runtime: Runtime, blobs: FakeBlobStore, monkeypatch: pytest.MonkeyPatch
):
    data = some_bytes(6 * MIB)
    monkeypatch.setattr("service.usecases.complete_multipart.COMPLETE_PAUSES_S", ())
    client, complete = await begin(runtime, len(data)), blobs.complete

    async def fails(*_: Any) -> None:
        raise StoreUnavailable

    blobs.complete = fails  # type: ignore[method-assign]
    await client.patch(data[: 5 * MIB], 0)
    with pytest.raises(StoreUnavailable):
        await client.patch(data[5 * MIB :], 5 * MIB)
    assert await stored(runtime) is None
    blobs.complete = complete  # type: ignore[method-assign]
    runtime.metadata.clock.advance(0.1)  # type: ignore[attr-defined]
    assert await client.offset() == len(data)
    assert await stored(runtime) == data


async def test_the_sweeper_finishes_what_nobody_came_back_for(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
):
    data = some_bytes(6 * MIB)
    commit_whole, uploads = metadata.uploads.commit_whole, metadata.uploads

    async def fails(*_: Any, **__: Any) -> Upload:
        raise StoreUnavailable

    monkeypatch.setattr(uploads, "commit_whole", fails)
    for key in ("k", "newer"):
        client = await begin(runtime, len(data), key=key)
        with pytest.raises(StoreUnavailable):
            await client.patch(data, 0)
    monkeypatch.setattr(uploads, "commit_whole", commit_whole)
    newer = await begin(runtime, 3, key="newer")
    await newer.patch(b"abc", 0)
    metadata.clock.advance(60)
    report = await sweep(runtime)
    assert report.rolled_forward == 1
    assert await stored(runtime) == data
    assert await stored(runtime, "newer") == b"abc"
    await clean(runtime, blobs, metadata, 2)


async def test_an_upload_that_expires_is_gone_for_good(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client = await begin(runtime, 20 * MIB)
    await client.patch(some_bytes(7 * MIB), 0)
    metadata.clock.advance(runtime.settings.uploads.ttl_s - 1)
    await sweep(runtime)
    assert await client.offset() == 7 * MIB
    metadata.clock.advance(2)
    with pytest.raises(UploadGone):
        await client.offset()
    with pytest.raises(UploadGone):
        await client.patch(b"x", 7 * MIB)
    for _ in range(2):
        await sweep(runtime)
        metadata.clock.advance(runtime.settings.uploads.tombstone_s + 1)
        with pytest.raises(UploadGone):
            await client.offset()
    await clean(runtime, blobs, metadata, 0)
    with pytest.raises(UploadNotFound):
        await client.offset()


async def test_an_ended_upload_leaves_nothing(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client = await begin(runtime, 20 * MIB)
    await client.patch(some_bytes(7 * MIB), 0)
    await end_upload(runtime, DEFAULT_TENANT, client.id)
    with pytest.raises(UploadGone):
        await client.patch(b"x", 7 * MIB)
    await clean(runtime, blobs, metadata, 0)


async def test_nobody_sees_an_upload_of_another_tenant(runtime: Runtime):
    client = await begin(runtime, 20)
    with pytest.raises(UploadNotFound):
        await find_upload(runtime, TenantId("other"), client.id)
    with pytest.raises(UploadNotFound):
        await find_upload(runtime, DEFAULT_TENANT, UploadId(new_id()))


# multiparts that grow old


async def test_an_upload_outlives_the_multiparts_of_the_store(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    data, half_s = some_bytes(26 * MIB), runtime.settings.s3.multipart_ttl_s / 2
    client, offset = await begin(runtime, len(data)), 0
    for size in (6 * MIB, 2 * MIB, 8 * MIB, MIB):
        await client.patch(data[offset : offset + size], offset)
        offset += size
        metadata.clock.advance(half_s + 1)
        await sweep(runtime)
        assert all(multipart.of_copies for multipart in blobs.multiparts.values())
        assert await client.offset() == offset
    await client.patch(data[offset:], offset)
    assert await stored(runtime) == data
    await clean(runtime, blobs, metadata, 1)


async def test_an_append_renews_an_old_multipart_by_itself(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    data = some_bytes(18 * MIB)
    client = await begin(runtime, len(data))
    await client.patch(data[: 6 * MIB], 0)
    (old,) = blobs.multiparts
    metadata.clock.advance(runtime.settings.s3.multipart_ttl_s / 2)
    await client.patch(data[6 * MIB : 12 * MIB], 6 * MIB)
    assert old not in blobs.multiparts
    await client.patch(data[12 * MIB :], 12 * MIB)
    assert await stored(runtime) == data
    await clean(runtime, blobs, metadata, 1)


async def test_a_multipart_that_the_store_dropped_ends_the_upload_with_a_word(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client = await begin(runtime, 20 * MIB)
    await client.patch(some_bytes(6 * MIB), 0)
    blobs.multiparts.clear()
    with pytest.raises(UploadGone):
        await client.patch(some_bytes(6 * MIB), 6 * MIB)
    with pytest.raises(UploadGone):
        await client.offset()
    await clean(runtime, blobs, metadata, 0)


# partial and final ones


@pytest.mark.parametrize(
    "sizes", [(3, 4), (6 * MIB, 1), (1, 6 * MIB, 2, 12 * MIB, 0, 3), (5 * MIB,)]
)
async def test_partial_uploads_are_joined(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, sizes: tuple[int, ...]
):
    parts = [some_bytes(size, seed) for seed, size in enumerate(sizes)]
    clients = []
    for part in parts:
        client = await begin(runtime, len(part), key="", kind=UploadKind.PARTIAL)
        half = len(part) // 2
        await client.patch(part[:half], 0)
        await client.patch(part[half:], half)
        clients.append(client)
    terms = ResumableTerms("who", "films", UploadKind.FINAL)
    request = CreateRequest(DEFAULT_TENANT, "k", terms)
    order = [*clients, clients[0]]
    final = await join_uploads(runtime, request, [client.id for client in order])
    assert final.state is UploadState.COMMITTED
    assert await stored(runtime) == b"".join([*parts, parts[0]])
    assert await Client(runtime, final).offset() == sum(map(len, parts)) + len(parts[0])
    again = CreateRequest(DEFAULT_TENANT, "again", terms)
    await join_uploads(runtime, again, [clients[0].id])
    assert await stored(runtime, "again") == parts[0]
    for client in clients:
        await end_upload(runtime, DEFAULT_TENANT, client.id)
    await clean(runtime, blobs, metadata, 2)
    assert await stored(runtime) == b"".join([*parts, parts[0]])


async def test_a_partial_upload_that_lacks_bytes_is_not_joined(runtime: Runtime):
    client = await begin(runtime, 4, key="", kind=UploadKind.PARTIAL)
    await client.patch(b"abc", 0)
    request = CreateRequest(DEFAULT_TENANT, "k", ResumableTerms("who", "films", UploadKind.FINAL))
    with pytest.raises(Invalid, match="lacks bytes"):
        await join_uploads(runtime, request, [client.id])
    whole = await begin(runtime, 3)
    with pytest.raises(Invalid, match="only partial"):
        await join_uploads(runtime, request, [whole.id])
    with pytest.raises(UploadNotFound):
        await join_uploads(runtime, request, [UploadId(new_id())])


async def test_used_up_keys_do_not_pile_up(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata
):
    client = await begin(runtime, 200)
    for offset in range(150):
        await client.patch(b"x", offset)
    found = await find_upload(runtime, DEFAULT_TENANT, client.id)
    assert len(found.keys) <= 40
    await runtime.tasks.drain(5)
    assert len(blobs.blobs) == 1
    await client.patch(b"x" * 50, 150)
    assert await stored(runtime) == b"x" * 200
    await clean(runtime, blobs, metadata, 1)


async def test_facts_and_type_are_those_of_a_put(runtime: Runtime):
    png = b"\x89PNG\r\n\x1a\n" + bytes(1000)
    facts = ObjectFacts(content_type="image/png", filename="a.png")
    client = await begin(runtime, len(png), facts=facts)
    await client.patch(png[:3], 0)
    done = await client.patch(png[3:], 3)
    assert done.committed is not None
    made = done.committed.version().facts
    assert (made.content_type, made.sniffed_type, made.filename) == (
        "image/png",
        "image/png",
        "a.png",
    )
