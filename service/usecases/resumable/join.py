"""Joining pieces, one after the other, into one blob: the store moves the bytes.

A copied part is 5 MiB to 5 GiB, only the last may be shorter. So a short piece in the middle, and
as much of what follows as makes a part of it, passes through this process. The multipart declares
no checksum, since MinIO takes no copied part in one that does: the CRC64NVME of the whole is known
from the pieces', and HEAD proves the size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from service.model.ids import BlobKey
from service.model.resumable import Piece
from service.model.upload import Part
from service.settings import MAX_PARTS
from service.usecases.digests import combined, crc64nvme
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import seal


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes [start, end) of a blob."""

    blob_key: BlobKey
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


PlannedPart = tuple[Slice, ...]
"""One slice is copied by the store; several are read and sent."""


def whole_crc(pieces: Iterable[Piece]) -> bytes:
    crc = bytes(8)
    for piece in pieces:
        crc = combined(crc, piece.crc64nvme, piece.size_bytes)
    return crc


def plan_parts(
    pieces: Sequence[Piece], *, least_bytes: int, part_bytes: int
) -> Iterator[PlannedPart]:
    """Parts of at least `least_bytes`, the last one excepted, and about as large as `part_bytes`,
    or as what lets 10,000 of them hold everything.

    part_bytes: at least `least_bytes`.
    """
    total = sum(piece.size_bytes for piece in pieces)
    step = max(part_bytes, 2 * -(-total // MAX_PARTS))
    gathered: list[Slice] = []
    for piece in pieces:
        start = 0
        while start < piece.size_bytes:
            left = piece.size_bytes - start
            if gathered:
                missing = least_bytes - sum(each.size_bytes for each in gathered)
                take = min(left, missing)
            elif left < least_bytes or left <= step or left < 2 * least_bytes:
                take = left
            else:
                take = min(step, left - least_bytes)
            slice = Slice(piece.blob_key, start, start + take)
            start += take
            if gathered or take < least_bytes:
                gathered.append(slice)
            else:
                yield (slice,)
            if sum(each.size_bytes for each in gathered) >= least_bytes:
                yield tuple(gathered)
                gathered = []
    if gathered:
        yield tuple(gathered)


async def join(held: HeldUpload) -> None:
    """Replace the segments by one that has the bytes of all of them.

    Raises BlobMissing where one is gone, UploadGone, StoreUnavailable, StoreFull, Fenced.
    """
    pieces = held.progress.segments
    uploads = held.runtime.settings.uploads
    planned = plan_parts(
        pieces, least_bytes=held.min_part_bytes, part_bytes=uploads.copy_part_bytes
    )
    span = await held.open_span(of_copies=True)
    parts = await _make(held, planned)
    size = sum(piece.size_bytes for piece in pieces)
    joined = replace(span, size_bytes=size, crc64nvme=whole_crc(pieces), reserved=MAX_PARTS)
    await held.save(span=joined, parts=parts, anew=True)
    await seal(held)


async def _make(held: HeldUpload, planned: Iterator[PlannedPart]) -> list[Part]:
    left, made = enumerate(planned, 1), list[Part]()

    async def work() -> None:
        for number, slices in left:
            made.append(await _make_part(held, number, slices))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(held.runtime.settings.uploads.parts_in_flight):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return sorted(made, key=lambda part: part.number)


async def _make_part(held: HeldUpload, number: int, slices: PlannedPart) -> Part:
    blobs, span = held.runtime.blobs, held.progress.span
    assert span is not None
    target = (span.blob_key, span.multipart_id, number)
    if len(slices) == 1:
        (one,) = slices
        return await blobs.copy_part(one.blob_key, one.start, one.end, *target)
    chunks, crc = list[bytes](), 0
    for each in slices:
        async with blobs.read(each.blob_key, each.start, each.end) as bytes_of_it:
            async for chunk in bytes_of_it:
                chunks.append(chunk)
                crc = crc64nvme(chunk, crc)
    return await blobs.upload_part(*target, chunks, crc.to_bytes(8, "big"), of_copies=True)
