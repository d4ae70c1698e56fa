"""Sends filled parts to the store, a few at a time, and never leaves one behind."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part
from service.usecases.part_stream import FilledPart
from service.usecases.runtime import Runtime


class PartWindow(ABC):
    """Used as a context: leaving it by an error cancels what is under way and frees its bytes.

    A subclass says where a part goes and what becomes of it once it is stored.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._free = asyncio.Semaphore(runtime.settings.uploads.parts_in_flight)
        self._running: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None

    async def send(self, part: FilledPart) -> None:
        """Start storing the next part once there is room; raises what an earlier one met."""
        try:
            await self._free.acquire()
            self._raise_failure()
            storing = await self._plan(part)
        except BaseException:
            part.release()
            raise
        task = asyncio.create_task(storing, name="part")
        task.add_done_callback(lambda done: self._ended(done, part))
        self._running.add(task)

    @abstractmethod
    async def _plan(self, part: FilledPart) -> Coroutine[Any, Any, None]:
        """What stores it, not begun."""

    async def _upload(
        self, key: BlobKey, multipart: MultipartId, number: int, part: FilledPart
    ) -> Part:
        with self._runtime.metrics.part_in_flight():
            return await self._runtime.blobs.upload_part(
                key, multipart, number, part.chunks, part.crc_bytes
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._calls_off(error):
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _calls_off(self, error: BaseException | None) -> bool:
        """Whether what is under way is not worth its end any more."""
        return True

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


class BodyParts(PartWindow):
    """All parts of one multipart, numbered from 1."""

    def __init__(self, runtime: Runtime, key: BlobKey, multipart: MultipartId) -> None:
        super().__init__(runtime)
        self._key = key
        self._multipart = multipart
        self._count = 0
        self._stored: list[Part] = []

    async def finish(self) -> tuple[Part, ...]:
        """All parts by number, once each is acknowledged."""
        if self._running:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_EXCEPTION)
        self._raise_failure()
        return tuple(sorted(self._stored, key=lambda part: part.number))

    async def _plan(self, part: FilledPart) -> Coroutine[Any, Any, None]:
        self._count += 1
        return self._store(self._count, part)

    async def _store(self, number: int, part: FilledPart) -> None:
        self._stored.append(await self._upload(self._key, self._multipart, number, part))
