"""What the blocking client stands on: the async one, in a loop of its own in a thread of its own.

So it may be called from several threads and from inside a running loop, which it holds up, as any
blocking call does. The thread starts with the first call. A forked child starts another one and
leaves alone what it inherited: its parent still uses those sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from service.client.api import AsyncMediagate
from service.client.archive import Archive
from service.client.connection import Timeouts
from service.client.download import Download
from service.client.patience import Notice

T = TypeVar("T")
R = TypeVar("R")


class _Engine:
    """A running loop in a daemon thread, and the client in it."""

    def __init__(self, make: Callable[[], AsyncMediagate]) -> None:
        self.selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self._thread = threading.Thread(target=self._work, name="mediagate", daemon=True)
        self._thread.start()
        self.client: AsyncMediagate = self.run(_entered(make))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """A Ctrl-C meanwhile cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        self.run(self.client.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


async def _entered(make: Callable[[], AsyncMediagate]) -> AsyncMediagate:
    return await make().__aenter__()


class BlockingClient:
    """`with Mediagate(…) as mediagate:`, or without `with` and a `close()` at the end."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeouts: Timeouts | None = None,
        on_retry: Notice | None = None,
    ) -> None:
        self._make = lambda: AsyncMediagate(url, key, timeouts=timeouts, on_retry=on_retry)
        self._lock = threading.Lock()
        self._engine: _Engine | None = None
        _CLIENTS.add(self)

    def __enter__(self) -> Self:
        self._running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; a later call starts both again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _running(self) -> _Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _Engine(self._make)
            return self._engine

    def _run(self, call: Callable[[AsyncMediagate], Coroutine[Any, Any, T]]) -> T:
        engine = self._running()
        return engine.run(call(engine.client))

    def _iterate(self, call: Callable[[AsyncMediagate], AsyncIterator[T]]) -> Iterator[T]:
        engine = self._running()
        return _items(engine, call(engine.client))

    def _open(
        self,
        call: Callable[[AsyncMediagate], AbstractAsyncContextManager[T]],
        wrap: Callable[[T, _Items], R],
    ) -> AbstractContextManager[R]:
        engine = self._running()
        return _opened(engine, call(engine.client), wrap)

    def _forget(self) -> None:
        """In a forked child: nothing of the parent's loop is touched, nor ever collected."""
        self._lock = threading.Lock()
        if self._engine is not None:
            # Only this process's descriptor: what is registered in it stays so for the parent.
            self._engine.selector.close()
            _INHERITED.append(self._engine)
            self._engine = None


_Items = Callable[[AsyncIterator[bytes]], Iterator[bytes]]
_CLIENTS: weakref.WeakSet[BlockingClient] = weakref.WeakSet()
_INHERITED: list[_Engine] = []


def _after_fork() -> None:
    for client in list(_CLIENTS):
        client._forget()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _opened(
    engine: _Engine,
    context: AbstractAsyncContextManager[T],
    wrap: Callable[[T, _Items], R],
) -> Iterator[R]:
    opened = engine.run(_enter(context))
    try:
        yield wrap(opened, lambda items: _items(engine, items))
    except BaseException as error:
        if not engine.run(_leave(context, error)):
            raise
    else:
        engine.run(_leave(context, None))


async def _leave(context: AbstractAsyncContextManager[T], error: BaseException | None) -> bool:
    if error is None:
        return bool(await context.__aexit__(None, None, None))
    return bool(await context.__aexit__(type(error), error, error.__traceback__))


async def _enter(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


def _items(engine: _Engine, items: AsyncIterator[T]) -> Iterator[T]:
    """One by one, and closed when whoever iterates leaves early."""
    try:
        while True:
            found = engine.run(_next(items))
            if not found:
                return
            yield found[0]
    finally:
        close = getattr(items, "aclose", None)
        if close is not None and not engine.loop.is_closed():
            with contextlib.suppress(RuntimeError):
                engine.run(close())


async def _next(items: AsyncIterator[T]) -> tuple[T, ...]:
    """Empty at the end: StopIteration does not travel through a future."""
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return ()


class BlockingDownload:
    """A Download to be iterated once, inside its context."""

    def __init__(self, download: Download, blocking: _Items) -> None:
        self.start, self.end, self.size_bytes = download.start, download.end, download.size_bytes
        self.etag = download.etag
        self.content_type = download.content_type
        self.digests = download.digests
        self._items = blocking(aiter(download))

    def __iter__(self) -> Iterator[bytes]:
        return self._items


class BlockingArchive:
    """An Archive to be iterated once, inside its context."""

    def __init__(self, archive: Archive, blocking: _Items) -> None:
        self.content_type = archive.content_type
        self._items = blocking(aiter(archive))

    def __iter__(self) -> Iterator[bytes]:
        return self._items
