"""Sends filled parts to the store, a few at a time, and never leaves one behind."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part
from service.usecases.part_stream import FilledPart
from service.usecases.runtime import Runtime


class PartWindow:
    """Used as a context: leaving it by an error cancels what is under way and frees its bytes."""

    def __init__(self, runtime: Runtime, key: BlobKey, multipart: MultipartId) -> None:
        self._runtime = runtime
        self._key = key
        self._multipart = multipart
        self._free = asyncio.Semaphore(runtime.settings.uploads.parts_in_flight)
        self._tasks: list[asyncio.Task[None]] = []
        self._stored: list[Part] = []
        self._failed: BaseException | None = None

    async def send(self, part: FilledPart) -> None:
        """Start storing the next part once there is room; raises what an earlier one met."""
        number = len(self._tasks) + 1
        try:
            await self._free.acquire()
            self._raise_failure()
        except BaseException:
            part.release()
            raise
        task = asyncio.create_task(self._store(number, part), name="part")
        task.add_done_callback(lambda _: self._stored_or_not(part))
        self._tasks.append(task)

    async def finish(self) -> tuple[Part, ...]:
        """All parts by number, once each is acknowledged."""
        await asyncio.gather(*self._tasks)
        self._raise_failure()
        return tuple(sorted(self._stored, key=lambda part: part.number))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _store(self, number: int, part: FilledPart) -> None:
        try:
            with self._runtime.metrics.part_in_flight():
                stored = await self._runtime.blobs.upload_part(
                    self._key, self._multipart, number, part.chunks, part.crc_bytes
                )
            self._stored.append(stored)
        except BaseException as error:
            self._failed = self._failed or error
            raise

    def _stored_or_not(self, part: FilledPart) -> None:
        """A callback, since a task that is cancelled before its first step runs no `finally`."""
        part.release()
        self._free.release()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed
