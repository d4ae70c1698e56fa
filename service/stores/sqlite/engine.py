"""Who reads and who writes: what every port of this package is made of."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from service.errors import StoreRefused, StoreUnavailable
from service.stores.sqlite.driver import Db, open_reader, open_writer
from service.stores.sqlite.errors import cannot_open, is_busy
from service.stores.sqlite.readers import Readers
from service.stores.sqlite.writer import Writer

T = TypeVar("T")

READERS = 4
_OPENING_S, _LOOK_AGAIN_S = 10.0, 0.02


class Engine:
    """Not open until `open` returns; a step is a function over a connection."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._writer: Writer | None = None
        self._readers: Readers | None = None

    async def open(self) -> None:
        """Idempotent. Raises StoreRefused, StoreUnavailable."""
        if self._readers is not None:
            return
        try:
            async with AsyncExitStack() as opened:
                writer = await self._open_writer()
                opened.push_async_callback(writer.close)
                readers = []
                for _ in range(READERS):
                    reader = await open_reader(self.path)
                    opened.push_async_callback(reader.close)
                    readers.append(reader)
                opened.pop_all()
        except sqlite3.Error as exc:
            raise cannot_open(str(self.path), exc) from exc
        except OSError as exc:
            raise StoreRefused(f"{self.path} cannot be opened: {exc.strerror}") from exc
        self._writer, self._readers = writer, Readers(readers, self.timeout_s)

    async def _open_writer(self) -> Writer:
        """Switching to the write-ahead log needs the file alone for a moment."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _OPENING_S
        while True:
            try:
                return Writer(await open_writer(self.path), self.path)
            except sqlite3.Error as exc:
                if not is_busy(exc) or loop.time() > deadline:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def read(self, work: Callable[[Db], T]) -> T:
        """Raises StoreTimeout, StoreUnavailable."""
        if self._readers is None:
            raise StoreUnavailable("the metadata store is not open")
        return await self._readers.run(work)

    async def write(self, work: Callable[[Db], T], *, deadline_s: float | None = None) -> T:
        """A transaction. Raises what `Writer.run` does."""
        if self._writer is None:
            raise StoreUnavailable("the metadata store is not open")
        return await self._writer.run(work, deadline_s=deadline_s or self.timeout_s)

    async def close(self) -> None:
        """Wait for what was asked for, then close the file."""
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        if writer is not None:
            await writer.drain()
        if readers is not None:
            await readers.close()
        if writer is not None:
            await writer.close()
