"""What the attempts at one upload share: what is sent, and what it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from service.client.checksum import Crc64
from service.client.connection import Connection
from service.client.io_thread import BlockingThread
from service.client.patience import Progress
from service.client.sources import Replayable, State
from service.client.upload_body import UploadBody
from service.errors import Conflict, MediagateError


@dataclass(frozen=True, slots=True)
class UploadJob:
    """state: of the source, before anything was sent. headers: what they say of the object."""

    connection: Connection
    thread: BlockingThread
    source: Replayable
    state: State
    bucket: str
    key: str
    headers: Mapping[str, str]
    progress: Progress

    def __str__(self) -> str:
        return f"mg://{self.bucket}/{self.key}"

    @asynccontextmanager
    async def body(
        self, progress: Progress, start: int = 0, crc: Crc64 | None = None
    ) -> AsyncIterator[UploadBody]:
        """Of one attempt: bytes from `start` to the end."""
        size_bytes = self.state.size_bytes
        chunks = self.source.chunks(self.thread, size_bytes, start)
        try:
            yield UploadBody(chunks, size_bytes, progress, start=start, crc=crc)
        finally:
            # A request that failed leaves them where they are. Where they are just being read, that
            # is being cancelled, and closes them.
            with suppress(RuntimeError):
                await chunks.aclose()

    async def sum_up(self, crc: Crc64, start: int, end: int) -> None:
        """Add bytes [start, end) to the sum."""
        async with aclosing(self.source.chunks(self.thread, end, start)) as chunks:
            async for chunk in chunks:
                crc.update(chunk)

    async def check_unchanged(self, error: MediagateError) -> None:
        """After an attempt that broke off by `error`. Raises Conflict."""
        if await self.thread.run(self.source.state) != self.state:
            raise Conflict(f"{self.source} was changed while it was sent") from error

    async def check_stored(self) -> None:
        """At the end. Raises Conflict."""
        if await self.thread.run(self.source.state) != self.state:
            raise Conflict(
                f"{self.source} was changed while it was sent: what is stored may be mixed"
            )
