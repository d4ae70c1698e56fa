"""The client behind a file system: made in the loop that uses it, closed when nobody does."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import weakref
from concurrent.futures import Future

from service.client.api import AsyncMediagate
from service.client.connection import Timeouts

DEFAULT_URL = "http://127.0.0.1:8080"
_CLOSE_S = 5
_SESSIONS: weakref.WeakSet[Session] = weakref.WeakSet()
_INHERITED: list[Session] = []
"""By a fork: never collected."""


class Session:
    """url, key: None for what MEDIAGATE_URL and MEDIAGATE_KEY say. Raises ValueError without a key.

    A file system that is used in one loop after the other gets a client in each.
    """

    def __init__(self, url: str | None, key: str | None, patience_s: float) -> None:
        self.url = url or os.environ.get("MEDIAGATE_URL") or DEFAULT_URL
        self._key = key or os.environ.get("MEDIAGATE_KEY", "").strip()
        if not self._key:
            raise ValueError("give an API key as the storage option `key`, or in MEDIAGATE_KEY")
        self._timeouts = Timeouts(patience_s=patience_s)
        self._client: AsyncMediagate | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()

    async def client(self) -> AsyncMediagate:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            client = AsyncMediagate(self.url, self._key, timeouts=self._timeouts)
            self._client, self._loop = await client.__aenter__(), loop
        return self._client

    async def close(self) -> None:
        """The next call makes a new client."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)

    def close_with(self, owner: object) -> None:
        """Close when the owner is collected, or the interpreter ends."""
        _SESSIONS.add(self)
        weakref.finalize(owner, self._close_soon).atexit = False

    def close_now(self) -> None:
        """From outside of its loop, and wait for it."""
        closing = self._close_soon()
        if closing is not None:
            with contextlib.suppress(TimeoutError):
                closing.result(_CLOSE_S)

    def _close_soon(self) -> Future[None] | None:
        """From any thread, without waiting: the collector may be at work in a loop.

        None where there is nothing to close, or nowhere to do it.
        """
        if os.getpid() != self._pid:
            # Its sockets and its selector are those of the parent, which still uses them.
            _INHERITED.append(self)
            return None
        if self._client is None or self._loop is None or not self._loop.is_running():
            return None
        return asyncio.run_coroutine_threadsafe(self.close(), self._loop)


@atexit.register
def _close_all() -> None:
    for session in list(_SESSIONS):
        session.close_now()
