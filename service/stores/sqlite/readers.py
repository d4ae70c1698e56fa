"""A few connections that only read; each statement sees all that was committed before it began."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from service.errors import StoreTimeout
from service.stores.sqlite.driver import Connection, Db
from service.stores.sqlite.errors import translate

T = TypeVar("T")


class Readers:
    def __init__(self, connections: Sequence[Connection], timeout_s: float) -> None:
        self._all = tuple(connections)
        self._idle = list(connections)
        self._free = asyncio.Semaphore(len(connections))
        self._timeout_s = timeout_s

    async def run(self, work: Callable[[Db], T]) -> T:
        """What `work` returns. Raises StoreTimeout, StoreUnavailable."""
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                # The one that was used last: its cache and its thread are warm.
                connection = self._idle.pop()
                try:
                    return await self._ask(connection, work)
                finally:
                    self._idle.append(connection)
        except TimeoutError as exc:
            raise StoreTimeout("the metadata store did not answer in time", silent=False) from exc

    async def close(self) -> None:
        for connection in self._all:
            await connection.close()

    @staticmethod
    async def _ask(connection: Connection, work: Callable[[Db], T]) -> T:
        asked = asyncio.ensure_future(connection.call(work))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            # An interrupt that came late would end the next one's query.
            await connection.interrupt()
            await asyncio.wait([asked])
            if not asked.cancelled():
                asked.exception()  # seen
            raise
        except sqlite3.Error as exc:
            raise translate(exc) from exc
