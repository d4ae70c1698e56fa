"""Errors of SQLite -> the tree of `service.errors`, in this one place.

A statement that fails changes nothing. A COMMIT that fails is another matter: where its pages were
written and the sync behind them was not, a crash before the next transaction would find them whole
(SQLite's recovery reads the log), so nobody knows. A full disk is definite: pages are written in
order, the one that makes the transaction last.
"""

from __future__ import annotations

import sqlite3

from service.errors import (
    MediagateError,
    OutcomeUnknown,
    StoreFull,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
)

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CLOSED_TO_US = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        *_CLOSED_TO_US,
    }
)
_FAILURES = _PASSING | _DAMAGED | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_INTERRUPT}
DAMAGED = "the metadata database is damaged"
WAY_OUT = (
    "restore a backup (`mediagate metadata restore`), or move the file away and run "
    "`mediagate rebuild`, which fills a new one from the journal"
)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code, 0 for an error of the module itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    return primary_code(error) == sqlite3.SQLITE_BUSY


def ends_transaction(error: sqlite3.Error) -> bool:
    """Whether the database failed, rather than one statement that asked for the wrong thing."""
    return primary_code(error) in _FAILURES


def translate(error: sqlite3.Error, *, committing: bool = False) -> MediagateError:
    """What to raise instead. committing: it was COMMIT that failed."""
    code = primary_code(error)
    extended = int(getattr(error, "sqlite_errorcode", 0))
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull("the metadata store has no room left")
    if committing and code == sqlite3.SQLITE_IOERR:
        return OutcomeUnknown("the metadata store could not finish a commit")
    if code == sqlite3.SQLITE_INTERRUPT:
        return StoreTimeout("the metadata store did not answer in time", silent=False)
    if code in _DAMAGED:
        return StoreUnavailable(f"{DAMAGED}: {WAY_OUT}")
    if code in _PASSING:
        return StoreUnavailable(f"the metadata store fails: {error}")
    return MediagateError("the metadata driver failed")


def cannot_open(path: str, error: sqlite3.Error) -> MediagateError:
    """For a database that cannot be used from the start."""
    code = primary_code(error)
    if code in _DAMAGED:
        return StoreRefused(f"{path} is damaged, or no database: {WAY_OUT}")
    if code in _CLOSED_TO_US:
        return StoreRefused(f"{path} cannot be opened for writing: {error}")
    return translate(error)
