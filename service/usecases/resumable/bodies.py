"""The body of an append: the tail before it, digests of it alone, and how it is cut into parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from service.model.resumable import Piece
from service.usecases.digests import BodyDigests, crc64nvme
from service.usecases.part_plan import unknown_part_bytes
from service.usecases.part_stream import PartStream
from service.usecases.resumable.held import HeldUpload
from service.usecases.runtime import Runtime

_SMALLER = 2
"""Than the large parts of a PUT: a killed process loses all that are in flight."""
_SMALL_PARTS = 4
"""So many parts of an append are small, however much memory there is: what a killed process has not
noted yet is sent again, and an upload whose every request is cut short must get on too."""


async def preceded(
    runtime: Runtime, tail: Piece, body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The bytes of the tail, then the body. Raises BlobMissing, StoreUnavailable besides."""
    if tail.size_bytes:
        async with runtime.blobs.read(tail.blob_key, 0, tail.size_bytes) as chunks:
            async for chunk in chunks:
                yield chunk
    async for chunk in body:
        yield chunk


async def hashed(body: AsyncIterator[bytes], digests: BodyDigests) -> AsyncIterator[bytes]:
    async for chunk in body:
        await digests.update([chunk], len(chunk), crc64nvme(chunk))
        yield chunk


def cut_body(
    held: HeldUpload, body: AsyncIterator[bytes], *, size_bytes: int | None, max_bytes: int
) -> PartStream:
    """size_bytes: of the body, None for an unknown length. max_bytes: more raises TooLarge."""
    settings, budget = held.runtime.settings, held.runtime.budget
    uploads = settings.uploads
    roomy = budget.unclaimed_bytes >= (uploads.parts_in_flight + 1) * uploads.large_part_bytes

    def planned(number: int) -> int:
        size = unknown_part_bytes(held.numbers_used + 1, uploads, budget.limit_bytes)
        large = uploads.large_part_bytes // _SMALLER
        return max(size, large) if roomy and number > _SMALL_PARTS else size

    return PartStream(
        body,
        budget,
        planned,
        declared_size_bytes=size_bytes,
        max_bytes=max_bytes,
        min_rate_bytes_s=settings.limits.min_rate_bytes_s,
        salvages=True,
    )
