"""Digests of local files, kept on disk by path, size, time of change and inode.

Losing it costs reading the files once more, so it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType

from service.client.checksum import crc_of_file
from service.client.sources import State

_SETTLED_NS = 2_000_000_000
"""A file that was changed a moment ago may change again without a new time: clocks of file systems
are coarse. It is read again next time."""
_WAIT_S = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS digests (
    path BLOB PRIMARY KEY, size_bytes INTEGER, modified_ns INTEGER, inode INTEGER, crc64nvme BLOB
) WITHOUT ROWID
"""


def default_cache_path() -> Path:
    """Where a user's caches are (XDG Base Directory Specification)."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(caches) / "mediagate" / "digests.sqlite"


_QUERY = """
SELECT crc64nvme FROM digests
WHERE path = ? AND size_bytes = ? AND modified_ns = ? AND inode = ?
"""


class DigestCache:
    """`with DigestCache(path) as cache:`; all calls block, and any thread may make them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __enter__(self) -> DigestCache:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:  # damaged: nothing in it is needed
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + ending).unlink()
            self._database = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._database.close()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_SCHEMA)
        except BaseException:
            database.close()
            raise
        return database

    def digest(self, path: Path, state: State) -> bytes | None:
        """CRC64NVME of a file, None where it changes while it is read. Raises OSError."""
        known = self._known(path, state)
        if known is not None:
            return known
        found = crc_of_file(path)
        if State.of(path.stat()) != state:
            return None
        self.keep(path, state, found)
        return found

    def keep(self, path: Path, state: State, digest: bytes) -> None:
        """digest: of the file while it had this state."""
        if time.time_ns() - state.modified_ns < _SETTLED_NS:
            return
        row = (_name(path), *state, digest)
        with self._lock:
            self._database.execute("REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", row)

    def _known(self, path: Path, state: State) -> bytes | None:
        with self._lock:
            row = self._database.execute(_QUERY, (_name(path), *state)).fetchone()
        return bytes(row[0]) if row else None


def _name(path: Path) -> bytes:
    return os.fsencode(path.absolute())
