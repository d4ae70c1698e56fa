"""The lines of a manifest by name, on disk while an import runs: a depot lists in any order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable

_SCHEMA = "CREATE TABLE lines (name BLOB PRIMARY KEY, line BLOB) WITHOUT ROWID"


class ManifestIndex:
    """All calls block; any thread may make them. `close` leaves nothing of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Without a name it is a file of its own that has none: SQLite removes it.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def add(self, rows: Iterable[tuple[str, bytes]]) -> None:
        encoded = [(name.encode(), line) for name, line in rows]
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany("REPLACE INTO lines VALUES (?, ?)", encoded)
            self._database.execute("COMMIT")

    def line(self, name: str) -> bytes | None:
        with self._lock:
            found = self._database.execute(
                "SELECT line FROM lines WHERE name = ?", (name.encode(),)
            ).fetchone()
        return bytes(found[0]) if found else None
