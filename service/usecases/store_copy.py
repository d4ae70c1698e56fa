"""From one blob to another one inside the store: what a body is to an upload.

What it writes: one CopyObject up to `uploads.copy_part_bytes`, else a multipart of UploadPartCopy
requests, a few at a time. A store answers a copy only when it is made, so each is small enough to
be made within `s3.request_timeout_s`. Nothing passes through this process, so neither the byte
budget nor a digest is needed: the digests are the original's, and HEAD proves the size, and the
CRC64NVME where the store keeps one.

What it needs: an admitted upload with a kept lease, and an original that stays. It is immutable,
and lives for `sweep.grace_s` after its version was deleted or overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from service.errors import OutcomeUnknown, StoreUnavailable
from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part, Upload
from service.model.version import Version
from service.settings import MAX_PARTS, MIB
from service.usecases.digests import CRC64NVME
from service.usecases.leases import Lease
from service.usecases.open_multipart import open_multipart
from service.usecases.runtime import Runtime
from service.usecases.store_body import StoredBody, is_whole
from service.usecases.tasks import to_its_end

Slice = tuple[int, int, int]
"""number, start, end."""


async def store_copy(
    runtime: Runtime, upload: Upload, original: Version, lease: Lease
) -> StoredBody:
    """Copy the blob of `original` into the upload's.

    Raises BlobMissing where the original is gone, StoreUnavailable, StoreFull, Fenced.
    """
    if original.size_bytes <= runtime.settings.uploads.copy_part_bytes:
        await _copy_whole(runtime, original, upload.intent.blob_key, lease)
        return _stored(original, upload.intent.blob_key)
    key, multipart = await open_multipart(runtime, upload, lease, of_copies=True)
    return _stored(original, key, multipart, await _copy_parts(runtime, original, key, multipart))


def _stored(
    original: Version,
    key: BlobKey,
    multipart: MultipartId | None = None,
    parts: tuple[Part, ...] = (),
) -> StoredBody:
    return StoredBody(
        key,
        multipart,
        parts,
        original.size_bytes,
        original.digests,
        original.facts.sniffed_type,
        copied=True,
    )


async def _copy_whole(runtime: Runtime, original: Version, key: BlobKey, lease: Lease) -> None:
    await lease.ensure()
    lost: OutcomeUnknown | None = None
    try:
        await to_its_end(runtime.blobs.copy(original.blob_key, key, original.size_bytes))
    except OutcomeUnknown as error:
        lost = error
    if not await is_whole(runtime, key, original.size_bytes, original.digests[CRC64NVME]):
        raise lost or StoreUnavailable("the store made a copy that is not the original")


async def _copy_parts(
    runtime: Runtime, original: Version, key: BlobKey, multipart: MultipartId
) -> tuple[Part, ...]:
    left = slices(original.size_bytes, runtime.settings.uploads.copy_part_bytes)
    made: list[Part] = []

    async def work() -> None:
        for number, start, end in left:
            part = await runtime.blobs.copy_part(
                original.blob_key, start, end, key, multipart, number
            )
            made.append(part)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(runtime.settings.uploads.parts_in_flight):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(sorted(made, key=lambda part: part.number))


def slices(size_bytes: int, part_bytes: int) -> Iterator[Slice]:
    """Parts of that size, or of as many MiB as let 10,000 of them hold everything."""
    least = -(-size_bytes // MAX_PARTS)
    step = part_bytes if part_bytes >= least else -(-least // MIB) * MIB
    starts = range(0, size_bytes, step)
    return (
        (number, start, min(start + step, size_bytes)) for number, start in enumerate(starts, 1)
    )
