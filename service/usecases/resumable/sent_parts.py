"""Sends the parts of an append to the store, a few at a time, and notes them in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from service.errors import Fenced, MediagateError, MultipartGone
from service.model.upload import Part
from service.usecases.part_stream import FilledPart
from service.usecases.part_window import PartWindow
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import lost


class SentParts(PartWindow):
    """What is under way when it is left by an error is waited for, and still noted, unless the
    upload is not ours any more, or we are to end at once.

    holds: nothing is noted here, for a body that has to be verified first; held_back is what there
    is to note then, in its order.
    """

    def __init__(self, held: HeldUpload, *, holds: bool) -> None:
        super().__init__(held.runtime)
        self._held = held
        self._holds = holds
        self._last: asyncio.Task[None] | None = None
        self.held_back: list[tuple[Part, bytes]] = []

    async def all_noted(self) -> None:
        """Wait for all; raises what one of them met, once none is under way."""
        if self._running:
            await asyncio.wait(self._running)
        self._raise_failure()

    def _calls_off(self, error: BaseException | None) -> bool:
        return not isinstance(error, MediagateError) or isinstance(error, Fenced)

    async def _plan(self, part: FilledPart) -> Coroutine[Any, Any, None]:
        return self._store(await self._held.take_number(), part)

    async def _store(self, number: int, part: FilledPart) -> None:
        before, self._last = self._last, asyncio.current_task()
        span = self._held.progress.span
        assert span is not None
        crc = part.crc_bytes
        stored = await self._upload(span.blob_key, span.multipart_id, number, part)
        part.release()
        if before is not None:
            await asyncio.wait([before])
            before.result()
        if self._holds:
            self.held_back.append((stored, crc))
        else:
            await self._held.add([(stored, crc)])


async def told(held: HeldUpload, error: MultipartGone) -> BaseException:
    """What a part that met no multipart means: where bytes are in it, the upload is lost."""
    span = held.progress.span
    if span is None or span.multipart_id in await held.runtime.blobs.list_multiparts(span.blob_key):
        return error
    if span.size_bytes:
        return await lost(held)
    await held.save(span=None, anew=True, working=False)
    return error
