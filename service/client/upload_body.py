"""The body of one attempt at a PUT: its chunks, counted, summed and watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from service.client.answers import ObjectInfo
from service.client.checksum import NAME, Crc64
from service.client.connection import Connection
from service.client.patience import Progress
from service.errors import MediagateError

WAIT_FOR_100_BYTES = 256 << 10
"""From this size on, a refusal spares the upload."""


class UploadBody:
    """The chunks of one attempt, counted and summed; it can be iterated once.

    start: where the first of them belongs in a body that goes on, whose sum until there is `crc`.
    size_bytes: of the whole. started: the service wanted a chunk. complete: all of them were taken.
    error: what the source raised.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        size_bytes: int | None,
        progress: Progress,
        *,
        start: int = 0,
        crc: Crc64 | None = None,
    ) -> None:
        self.size_bytes = size_bytes
        self.error: Exception | None = None
        self._chunks = chunks
        self._progress = progress
        self._crc = crc or Crc64()
        self._sent_bytes = start
        self.started = False
        self.complete = False

    def guard(self, idle: asyncio.Timeout, idle_s: float) -> None:
        self._idle, self._idle_s = idle, idle_s
        self._watch()

    def check(self, info: ObjectInfo) -> None:
        """Raises DigestMismatch unless what was stored is what was sent."""
        self._crc.check(info.digest(NAME), f"mg://{info.bucket}/{info.key}")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.started:
            # aiohttp must never send the rest of a stream as if it were the whole.
            raise RuntimeError("a body is sent once")
        self.started = True
        self._progress(self._sent_bytes, self.size_bytes)
        try:
            self._idle.reschedule(None)
            async for chunk in self._chunks:
                self._crc.update(chunk)
                self._watch()
                yield chunk
                self._sent_bytes += len(chunk)
                self._progress(self._sent_bytes, self.size_bytes)
                self._idle.reschedule(None)
        except Exception as error:
            self.error = error
            raise
        self.complete = True
        self._watch()

    def _watch(self) -> None:
        self._idle.reschedule(asyncio.get_running_loop().time() + self._idle_s)


async def guarded(
    connection: Connection, body: UploadBody, method: str, path: str, **more: Any
) -> bytes:
    """Send the body once; the whole answer.

    The idle time runs while the service takes nothing, not while the source gives nothing.
    """
    try:
        with connection.translated():
            async with asyncio.timeout(None) as idle:
                body.guard(idle, connection.timeouts.idle_s)
                async with connection.request(method, path, data=body, **more) as response:
                    return await response.content.read()
    except MediagateError as error:
        if body.error is None:
            raise
        # What the source raised reaches us as a broken connection.
        raise body.error from error
