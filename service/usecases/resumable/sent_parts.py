"""Sends the parts of an append to the store, a few at a time, and notes them in their order."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from service.errors import Fenced, MediagateError, MultipartGone
from service.model.upload import Part
from service.usecases.part_stream import FilledPart
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import lost


class SentParts:
    """Used as a context: what is under way when it is left by an error is waited for, and still
    noted, unless the upload is not ours any more, or we are to end at once.

    holds: nothing is noted before `release`, for a body that has to be verified first.
    """

    def __init__(self, held: HeldUpload, *, holds: bool) -> None:
        self._held = held
        self._holds = holds
        self._waiting: list[tuple[Part, bytes]] = []
        self._free = asyncio.Semaphore(held.runtime.settings.uploads.parts_in_flight)
        self._running: set[asyncio.Task[None]] = set()
        self._last: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None

    async def send(self, part: FilledPart) -> None:
        """Start storing the next part once there is room; raises what an earlier one met."""
        try:
            await self._free.acquire()
            self._raise_failure()
            number = await self._held.take_number()
        except BaseException:
            part.release()
            raise
        task = asyncio.create_task(self._store(number, part, self._last), name="part")
        task.add_done_callback(lambda done: self._ended(done, part))
        self._running.add(task)
        self._last = task

    async def all_noted(self) -> None:
        """Wait for all; raises what one of them met, once none is under way."""
        if self._running:
            await asyncio.wait(self._running)
        self._raise_failure()

    async def release(self) -> list[tuple[Part, bytes]]:
        """What was held back, in its order, for the caller to note."""
        await self.all_noted()
        return self._waiting

    async def kept(self) -> list[tuple[Part, bytes]]:
        """What there is to note of a body that failed: nothing of what was held back."""
        await self.all_noted()
        return []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, MediagateError) or isinstance(error, Fenced):
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _store(
        self, number: int, part: FilledPart, before: asyncio.Task[None] | None
    ) -> None:
        span = self._held.progress.span
        assert span is not None
        runtime, crc = self._held.runtime, part.crc_bytes
        try:
            with runtime.metrics.part_in_flight():
                stored = await runtime.blobs.upload_part(
                    span.blob_key, span.multipart_id, number, part.chunks, crc
                )
        finally:
            part.release()
        if before is not None:
            await asyncio.wait([before])
            before.result()
        if self._holds:
            self._waiting.append((stored, crc))
        else:
            await self._held.add([(stored, crc)])

    def _ended(self, task: asyncio.Task[None], part: FilledPart) -> None:
        """A callback, since a task that is cancelled before its first step runs no `finally`."""
        part.release()
        self._free.release()
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed = self._failed or error

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed


async def told(held: HeldUpload, error: MultipartGone) -> BaseException:
    """What a part that met no multipart means: where bytes are in it, the upload is lost."""
    span = held.progress.span
    if span is None or span.multipart_id in await held.runtime.blobs.list_multiparts(span.blob_key):
        return error
    if span.size_bytes:
        return await lost(held)
    await held.save(span=None, anew=True, working=False)
    return error
