"""Connections: the only module that imports aiosqlite, and how a connection is set up."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")
Db = sqlite3.Connection
Row = sqlite3.Row

_FETCHED_AT_ONCE = 64
_STATEMENTS_KEPT = 256
_READERS_WAIT_S = 1.0
"""Readers meet a lock only while another process recovers or closes the file."""
_CHECKPOINT_PAGES = 2000
_LOG_BYTES_KEPT = 64 << 20
_WRITER_CACHE_KIB, _READER_CACHE_KIB = 32 << 10, 8 << 10


class Connection(aiosqlite.Connection):
    """A connection with its thread, where whole functions run rather than single statements.

    The thread ends with the process: what hangs in a dying disk does not hold that up.
    """

    def __init__(self, connect: Callable[[], Db]) -> None:
        super().__init__(connect, _FETCHED_AT_ONCE)
        self._thread.daemon = True

    async def call(self, work: Callable[[Db], T]) -> T:
        """What `work` returns or raises. The caller's cancellation does not end it."""
        done: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return done


async def open_writer(path: Path) -> Connection:
    """The file is made where it is absent, for its owner only. Never waits for a lock.

    Raises OSError, sqlite3.Error.
    """
    await asyncio.to_thread(_make, path)
    return await _open(
        path,
        0,
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        f"PRAGMA journal_size_limit = {_LOG_BYTES_KEPT}",
        f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}",
    )


async def open_reader(path: Path) -> Connection:
    return await _open(
        path,
        _READERS_WAIT_S,
        f"PRAGMA cache_size = -{_READER_CACHE_KIB}",
        "PRAGMA query_only = ON",
    )


def _make(path: Path) -> None:
    """An empty file where there is none.

    Never opened under its own name: a process that closes any descriptor of a file loses all its
    locks on it (POSIX), those of SQLite's connections too, and then another process takes itself
    for the last one and throws the log away.
    """
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


async def _open(path: Path, wait_s: float, *pragmas: str) -> Connection:
    """Raises sqlite3.Error."""

    def connect() -> Db:
        db = sqlite3.connect(
            path,
            timeout=wait_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_KEPT,
        )
        db.row_factory = sqlite3.Row
        try:
            for pragma in ("PRAGMA trusted_schema = OFF", "PRAGMA temp_store = MEMORY", *pragmas):
                db.execute(pragma)
        except BaseException:
            db.close()
            raise
        return db

    connection = Connection(connect)
    await connection
    return connection
