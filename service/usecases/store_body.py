"""From a body to a blob in the store: everything of an upload up to the end of its bytes.

What it writes: one PutObject when the body ends within its first part, else a multipart whose id is
in the ledger before its first part. What it needs: an admitted upload with a kept lease. What a
crash leaves: keys that all stand in the ledger, which the sweeper removes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from service.errors import IncompleteBody, OutcomeUnknown, UnsupportedMedia
from service.model.bucket import Bucket
from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part, Upload
from service.protocol.media_types import SNIFF_BYTES, contradicts, sniff
from service.usecases.digests import CRC64NVME, BodyDigests
from service.usecases.leases import Lease
from service.usecases.open_multipart import open_multipart
from service.usecases.part_plan import (
    known_part_bytes,
    largest_object_bytes,
    unknown_part_bytes,
)
from service.usecases.part_stream import FilledPart, PartStream
from service.usecases.part_window import BodyParts, PartWindow
from service.usecases.runtime import Runtime
from service.usecases.tasks import to_its_end


@dataclass(frozen=True, slots=True)
class StoredBody:
    """multipart_id: None for a single PutObject or CopyObject, which is complete already.

    copied: the store made the parts of another blob, and nobody verified them on the way.
    """

    blob_key: BlobKey
    multipart_id: MultipartId | None
    parts: tuple[Part, ...]
    size_bytes: int
    digests: Mapping[str, bytes]
    sniffed_type: str | None
    copied: bool = False

    @property
    def crc64nvme(self) -> bytes:
        return self.digests[CRC64NVME]


class BodyStorer:
    """Streams one body into the store under its upload's key.

    body: chunks of >= 1 byte, consumed once; `uploads.parts_in_flight` parts are held at most.
    """

    def __init__(
        self,
        runtime: Runtime,
        upload: Upload,
        bucket: Bucket,
        body: AsyncIterator[bytes],
        digests: BodyDigests,
        lease: Lease,
        *,
        max_bytes: int,
    ) -> None:
        self._runtime = runtime
        self._lease = lease
        self._upload = upload
        self._allowed_types = bucket.settings.allowed_content_types
        self._digests = digests
        self._declared = upload.intent.declared_size_bytes
        self._stream = self._part_stream(body, max_bytes)

    async def run(self) -> StoredBody:
        """Raises IncompleteBody, TooLarge, SlowClient, DigestMismatch, UnsupportedMedia,
        StoreUnavailable, StoreFull, Fenced; every byte is given back to the budget by then."""
        first = await self._stream.next_part()
        try:
            sniffed = sniff(first.head(SNIFF_BYTES))
            self._refuse_unwanted_type(sniffed)
            if self._stream.ended:
                return await self._store_whole(first, sniffed)
            key, multipart = await open_multipart(self._runtime, self._upload, self._lease)
        except BaseException:
            first.release()
            raise
        return await self._store_parts(first, sniffed, key, multipart)

    def _part_stream(self, body: AsyncIterator[bytes], max_bytes: int) -> PartStream:
        settings, budget = self._runtime.settings, self._runtime.budget
        room = largest_object_bytes(
            self._declared is not None, settings.uploads, budget.limit_bytes
        )
        return PartStream(
            body,
            budget,
            self._plan(),
            declared_size_bytes=self._declared,
            max_bytes=min(max_bytes, room),
            min_rate_bytes_s=settings.limits.min_rate_bytes_s,
        )

    def _plan(self) -> Callable[[int], int]:
        uploads, budget = self._runtime.settings.uploads, self._runtime.budget
        needed = (uploads.parts_in_flight + 1) * uploads.large_part_bytes
        roomy, limit = budget.free_bytes >= needed, budget.limit_bytes
        if self._declared is None:
            # Many may begin at once, and slow ones keep all that they sent until a part is full.
            roomy = budget.unclaimed_bytes >= needed
            return partial(unknown_part_bytes, uploads=uploads, budget_bytes=limit, roomy=roomy)
        size = known_part_bytes(self._declared, uploads, budget_bytes=limit, roomy=roomy)
        return lambda _number: size

    async def _store_whole(self, part: FilledPart, sniffed: str | None) -> StoredBody:
        """The body fits into one part: everything is checked before a single byte is sent."""
        key = self._upload.intent.blob_key
        try:
            await self._digests.update(part.chunks, part.size_bytes, part.crc)
            found = self._checked_end()
            await self._put(key, part)
        finally:
            part.release()
        return StoredBody(key, None, (), self._stream.size_bytes, found, sniffed)

    async def _put(self, key: BlobKey, part: FilledPart) -> None:
        await self._lease.ensure()
        try:
            await to_its_end(self._runtime.blobs.put(key, part.chunks, part.crc_bytes))
        except OutcomeUnknown:
            if not await is_whole(self._runtime, key, part.size_bytes, part.crc_bytes):
                raise

    async def _store_parts(
        self, first: FilledPart, sniffed: str | None, key: BlobKey, multipart: MultipartId
    ) -> StoredBody:
        async with BodyParts(self._runtime, key, multipart) as window:
            await self._send(window, first)
            while not self._stream.ended:
                part = await self._stream.next_part()
                if part.size_bytes:
                    await self._send(window, part)
                else:
                    part.release()
            found = self._checked_end()
            parts = await window.finish()
        return StoredBody(key, multipart, parts, self._stream.size_bytes, found, sniffed)

    async def _send(self, window: PartWindow, part: FilledPart) -> None:
        try:
            await self._digests.update(part.chunks, part.size_bytes, part.crc)
        except BaseException:
            part.release()
            raise
        await window.send(part)

    def _checked_end(self) -> dict[str, bytes]:
        came = self._stream.size_bytes
        if self._declared is not None and came != self._declared:
            raise IncompleteBody(f"{came} bytes came, {self._declared} were declared")
        return self._digests.finish()

    def _refuse_unwanted_type(self, sniffed: str | None) -> None:
        if self._allowed_types and sniffed and contradicts(sniffed, self._allowed_types):
            raise UnsupportedMedia(f"the body looks like {sniffed}: this bucket takes none")


async def is_whole(runtime: Runtime, key: BlobKey, size_bytes: int, crc: bytes) -> bool:
    """Whether the store has exactly these bytes under a key; the CRC decides where it keeps one."""
    facts = await runtime.blobs.head(key)
    if facts is None or facts.size_bytes != size_bytes:
        return False
    return facts.crc64nvme is None or facts.crc64nvme == crc
