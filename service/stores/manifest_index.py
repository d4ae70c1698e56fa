"""The lines of a manifest by name, on disk while an import runs: a depot lists in any order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from types import TracebackType

_SCHEMA = "CREATE TABLE lines (name BLOB PRIMARY KEY, line BLOB) WITHOUT ROWID"


class ManifestIndex:
    """All calls block; any thread may make them. Gone at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> ManifestIndex:
        # Without a name it is a file of its own that has none: SQLite removes it.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(_SCHEMA)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
