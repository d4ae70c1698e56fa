"""A thread that unpacks: blocking generators on one side, asyncio on the other.

Each archive has a thread of its own, which works only while an entry or a chunk is asked for and
waits in it for the body, so nothing is read ahead of whoever stores the entries. It is not one of
the loop's executor: a few slow clients would keep all of these.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from service.errors import IncompleteBody, Invalid
from service.protocol.unpacking import Caps, Entry, Meter, Unpacking

T = TypeVar("T")


class Unpacker:
    """Entries in the order of the archive; the chunks of one are read before the next is asked for.

    broken: whether reading the archive failed, as opposed to what was done with its entries.
    """

    def __init__(self, body: AsyncIterator[bytes], unpacking: Unpacking, caps: Caps) -> None:
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unpack")
        self._entries = unpacking(self._pulled(), Meter(caps))
        self._pull: concurrent.futures.Future[bytes] | None = None
        self._closed = False
        self.broken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The thread finds out at its next pull, or at the one that it waits in."""
        self._closed = True
        if self._pull is not None:
            self._pull.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Raises Invalid, TooLarge and what the body raises."""
        while (entry := await self._next(self._entries)) is not None:
            yield entry

    async def chunks(self, entry: Entry) -> AsyncGenerator[bytes, None]:
        """Likewise; never more than the entry's size, by which whoever stores it plans."""
        came_bytes = 0
        while (chunk := await self._next(entry.chunks)) is not None:
            came_bytes += len(chunk)
            if entry.size_bytes is not None and came_bytes > entry.size_bytes:
                self.broken = True
                raise Invalid("an entry of the archive is longer than its header says")
            if chunk:
                yield chunk

    async def _next(self, iterator: Iterator[T]) -> T | None:
        try:
            return await self._loop.run_in_executor(self._thread, next, iterator, None)
        except BaseException:
            self.broken = True
            raise

    def _pulled(self) -> Iterator[bytes]:
        """In the thread: the body, a chunk at a time."""
        while True:
            self._pull = asyncio.run_coroutine_threadsafe(self._chunk(), self._loop)
            chunk = self._pull.result()
            if not chunk:
                return
            yield chunk

    async def _chunk(self) -> bytes:
        if self._closed:
            raise IncompleteBody("nobody wants the rest of the archive")
        return await anext(self._body, b"")
