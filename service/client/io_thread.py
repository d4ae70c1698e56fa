"""Reads and writes that block, in a thread that holds nobody up.

asyncio's own threads are waited for when the loop ends, so that a Ctrl-C during `cat | mediagate
put -` would hang until the pipe gives something. A daemon thread is not waited for, and `os.read`
takes no lock that the interpreter would miss at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
CHUNK_BYTES = 1 << 20


class BlockingThread:
    """`async with BlockingThread() as thread: await thread.run(os.read, 0, 65536)`.

    One call at a time, in order.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._over = False

    async def __aenter__(self) -> BlockingThread:
        self._start()
        return self

    def _start(self) -> None:
        threading.Thread(target=self._work, name="mediagate-io", daemon=True).start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The thread ends after the call that it is in."""
        self._over = True
        self._calls.put(None)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Cancellation leaves the call running; its result is dropped."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            try:
                result = function(*args)
            except BaseException as error:  # noqa: BLE001 -- handed to whoever waits
                _tell(loop, answer, answer.set_exception, error)
            else:
                _tell(loop, answer, answer.set_result, result)

        self._calls.put(call)
        return await answer

    def post(self, function: Callable[[], object]) -> None:
        """Behind what runs now, and nobody waits for it."""

        def call() -> None:
            with contextlib.suppress(OSError):
                function()

        self._calls.put(call)
        if self._over:  # what an attempt that broke off has open is closed when it is collected
            self._calls.put(None)
            self._start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _tell(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[T],
    tell: Callable[[Any], None],
    value: object,
) -> None:
    def tell_unless_cancelled() -> None:
        if not answer.done():
            tell(value)

    # The loop may be gone by now: then nobody waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell_unless_cancelled)


async def read_chunks(descriptor: int, *, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
    """What the descriptor gives until its end; it stays open."""
    async with BlockingThread() as thread:
        while chunk := await thread.run(os.read, descriptor, chunk_bytes):
            yield chunk


def write_all(descriptor: int, chunk: bytes) -> None:
    """Blocks until all is written."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
