"""One PUT of unknown length, fed chunk by chunk by somebody who takes their time.

Nothing is visible before `finish`. A writer that pauses is no lost client: the last bytes of each
chunk are held back and sent one at a time meanwhile, so that the service, which gives up on a body
that brings nothing for `http.idle_timeout_s`, sees that it is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from service.client.answers import ObjectInfo

_QUEUED_CHUNKS = 1
_PIECE_BYTES = 1 << 20
_HELD_BYTES = 4096
"""Enough for 17 hours of silence."""
SILENCE_S = 15.0

Put = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, ObjectInfo]]


class StreamedUpload:
    """Made inside a running loop, which its task belongs to; end it by `finish` or `abort`.

    before: what comes before the first chunk that is written. Memory: the chunk that is sent, and
    one that waits.
    """

    def __init__(self, put: Put, before: AsyncIterator[bytes] | None = None) -> None:
        self._before = before
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED_CHUNKS)
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(put(self._chunks()))

    async def write(self, chunk: bytes) -> None:
        """Waits for room. Raises what the upload raised, if it is over already."""
        await self._offer(chunk)

    async def finish(self) -> ObjectInfo:
        """The last byte was written: what is stored."""
        await self._offer(None)
        return await self._task

    async def abort(self) -> None:
        """Break it off; nothing is stored. No error when it is over."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def abort_soon(self) -> None:
        """The same from any thread, without waiting."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.abort(), self._loop)

    async def _offer(self, chunk: bytes | None) -> None:
        offer = asyncio.ensure_future(self._queue.put(chunk))
        try:
            await asyncio.wait({offer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            offer.cancel()
        if self._task.done() and (chunk is not None or not offer.done()):
            await self._task
            raise RuntimeError("the upload ended before its last byte")

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._before is not None:
            async for piece in self._before:
                yield piece
        held = b""
        while True:
            try:
                async with asyncio.timeout(SILENCE_S if held else None):
                    chunk = await self._queue.get()
            except TimeoutError:
                yield held[:1]
                held = held[1:]
                continue
            if held:
                yield held
            if chunk is None:
                return
            until = max(0, len(chunk) - _HELD_BYTES)
            for start in range(0, until, _PIECE_BYTES):
                yield chunk[start : min(start + _PIECE_BYTES, until)]
            held = chunk[until:]
