"""A resumable upload in the hands of one process, until somebody else claims it.

Every change of its progress goes through `save`, one at a time, and is seen here only once the
ledger has acknowledged it. After a change of which nobody knows whether it was made, nothing more
is written: the next holder reads what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from service.errors import OutcomeUnknown
from service.model.ids import BlobKey
from service.model.resumable import Piece, Progress, Span
from service.model.upload import Part, Upload, UploadState, UsedKey
from service.settings import MIN_PART_BYTES
from service.stores.blob_layout import new_blob_key
from service.usecases.digests import combined
from service.usecases.open_multipart import create_multipart
from service.usecases.part_stream import FilledPart
from service.usecases.runtime import Runtime
from service.usecases.store_body import is_whole
from service.usecases.tasks import to_its_end

_AHEAD = 16
"""How many part numbers are noted at once before they are used."""
_FIRST_CLAIM = 2
"""The epoch of whoever claims an upload first: nobody before has used the key it was admitted with,
since whoever creates an upload sends nothing to the store before it claims it too."""


class HeldUpload:
    """upload: as the claim returned it. `upload.progress` and the like are not kept up to date."""

    def __init__(self, runtime: Runtime, upload: Upload) -> None:
        assert upload.progress is not None
        assert upload.intent.resumable is not None
        self.runtime = runtime
        self.upload = upload
        self.terms = upload.intent.resumable
        self.progress: Progress = upload.progress
        self.parts: list[Part] = list(upload.parts)
        self._ledger = runtime.metadata.resumables
        self._lock = asyncio.Lock()
        self._lost = False
        self._later: dict[str, Any] = {}
        self._number = self.progress.span.reserved if self.progress.span else 0
        self._has_fresh_key = upload.ref.epoch == _FIRST_CLAIM

    @property
    def min_part_bytes(self) -> int:
        """What no part but the last may be shorter than."""
        return min(MIN_PART_BYTES, self.runtime.settings.uploads.part_bytes)

    @property
    def sealing(self) -> bool:
        return self.upload.state is UploadState.SEALING

    async def save(
        self,
        *,
        parts: Sequence[Part] = (),
        anew: bool = False,
        state: UploadState = UploadState.OPEN,
        lease_s: float | None = None,
        **changes: Any,
    ) -> None:
        """changes: fields of the progress. Raises Fenced, StoreUnavailable, OutcomeUnknown."""
        async with self._lock:
            if self._lost:
                raise OutcomeUnknown("what became of the last step of this upload is not known")
            progress = replace(self.progress, **self._later, **changes)
            try:
                await self._ledger.save(
                    self.upload.ref, progress, parts=parts, anew=anew, state=state, lease_s=lease_s
                )
            except BaseException as error:
                self._lost = isinstance(error, OutcomeUnknown | asyncio.CancelledError)
                raise
            self.progress, self._later = progress, {}
            self.parts = [*parts] if anew else [*self.parts, *parts]
            self.upload = replace(self.upload, state=state)

    async def take_number(self) -> int:
        """A part number of the span that nobody has used, noted before it is."""
        span = self.progress.span
        assert span is not None
        self._number += 1
        number = self._number
        if number > span.reserved:
            await self.save(span=replace(span, reserved=number + _AHEAD))
        return number

    @property
    def numbers_used(self) -> int:
        return self._number

    async def add(
        self,
        stored: Sequence[tuple[Part, bytes]] = (),
        rest: Piece | None = None,
        **changes: Any,
    ) -> None:
        """Note bytes that the store has: parts in order, each with its CRC64NVME, then a tail.

        The first of them begin with what was the tail before, where there was one.
        """
        progress, gained = self.progress, sum(part.size_bytes for part, _ in stored)
        if stored:
            changes["span"] = self._longer(stored)
        if rest is not None:
            gained += rest.size_bytes
        before = progress.tail if stored or rest is not None else None
        if stored or rest is not None:
            changes |= {"tail": rest, "offset": progress.offset + gained - _size(before)}
        changes.setdefault("lease_s", self.runtime.settings.uploads.ttl_s)
        await self.save(parts=[part for part, _ in stored], **changes)
        if before is not None:
            self.drop(before.blob_key)

    def _longer(self, stored: Sequence[tuple[Part, bytes]]) -> Span:
        span = self.progress.span
        assert span is not None
        size_bytes, crc = span.size_bytes, span.crc64nvme
        for part, part_crc in stored:
            size_bytes += part.size_bytes
            crc = combined(crc, part_crc, part.size_bytes)
        reserved = max(span.reserved, self._number + _AHEAD // 2)
        return replace(span, size_bytes=size_bytes, crc64nvme=crc, reserved=reserved)

    def later(self, **changes: Any) -> None:
        """Changes of the progress that may wait for the next `save`."""
        self._later |= changes

    async def fresh_key(self) -> BlobKey:
        """A key that was never used, noted in the ledger."""
        if self._has_fresh_key:
            self._has_fresh_key = False
            return self.upload.intent.blob_key
        key = new_blob_key(self.upload.intent.tenant)
        await self._ledger.note_key(self.upload.ref, key)
        self.upload = replace(self.upload, keys=(*self.upload.keys, UsedKey(key)))
        return key

    async def open_span(self, *, of_copies: bool = False) -> Span:
        """A multipart of its own, noted before its first part."""
        opened_at = await self.runtime.metadata.now()
        key, multipart = await create_multipart(
            self.runtime, await self.fresh_key(), self.fresh_key, of_copies=of_copies
        )
        await self.runtime.metadata.uploads.save_multipart(self.upload.ref, key, multipart)
        span = Span(key, multipart, opened_at, reserved=_AHEAD, of_copies=of_copies)
        await self.save(span=span, anew=True)
        self._number = 0
        return span

    async def put(self, part: FilledPart) -> Piece:
        """Store bytes as an object of their own; nothing refers to it yet."""
        key, piece = await self.fresh_key(), (part.size_bytes, part.crc_bytes)
        try:
            await to_its_end(self.runtime.blobs.put(key, part.chunks, part.crc_bytes))
        except OutcomeUnknown:
            if not await is_whole(self.runtime, key, *piece):
                raise
        return Piece(key, *piece)

    def referenced(self) -> set[BlobKey]:
        """Keys in which bytes that count lie."""
        progress = self.progress
        pieces = [*progress.segments, *([progress.tail] if progress.tail else [])]
        return {piece.blob_key for piece in pieces} | (
            {progress.span.blob_key} if progress.span else set()
        )

    def spent(self) -> list[UsedKey]:
        """Keys that were noted and in which nothing that counts lies any more."""
        needed = self.referenced()
        if self._has_fresh_key:
            needed.add(self.upload.intent.blob_key)
        return [used for used in self.upload.keys if used.blob_key not in needed]

    def drop(self, key: BlobKey) -> None:
        """Delete an object that is not needed any more, in the background. Its key stays noted, so
        what cannot be deleted now goes with the upload."""
        self.runtime.tasks.spawn(self.runtime.blobs.delete(key), name="drop")


def _size(piece: Piece | None) -> int:
    return piece.size_bytes if piece is not None else 0
