"""Copies of the file: made while services use it, looked at, and put back.

`VACUUM INTO` reads one snapshot, holds nobody up, and writes a file without gaps or a log. A copy
gets its name only when it is whole and on the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from service.errors import SchemaMismatch, StoreFull, StoreRefused
from service.stores.schema_version import SCHEMA_VERSION
from service.stores.sqlite.driver import Db
from service.stores.sqlite.errors import cannot_open, translate
from service.stores.sqlite.health import check_integrity
from service.stores.sqlite.tables import APPLICATION_ID

_WAIT_S = 10.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def back_up(path: Path, file: Path) -> int:
    """Copy the database at `path` to `file`, which must not be there; returns its bytes.

    Raises StoreRefused, StoreFull, SchemaMismatch.
    """
    with _opened(path) as db, _draft_of(file) as draft:
        _require_ours(db, path)
        try:
            db.execute("VACUUM INTO ?", (str(draft),))
        except sqlite3.Error as exc:
            raise translate(exc) from exc
    return file.stat().st_size


def restore(path: Path, file: Path) -> None:
    """Put a copy back at `path`, where there must be none; no service may run.

    Raises StoreRefused, also for a copy that is damaged; SchemaMismatch.
    """
    check(file)
    for there in (path, path.with_name(f"{path.name}-wal")):
        if there.exists():
            raise StoreRefused(f"{there} is there already: stop the services and move it away")
    with _draft_of(path) as draft:
        shutil.copyfile(file, draft)
        draft.chmod(0o600)


def check(path: Path) -> dict[str, int]:
    """Look at all of the file. Raises StoreRefused for one that is damaged; SchemaMismatch."""
    with _opened(path) as db:
        _require_ours(db, path)
        check_integrity(db, path, seconds=None)
        broken = db.execute("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise StoreRefused(f"{path}: {len(broken)} rows point to rows that are gone")
        numbers = {name: _number(db, name) for name in ("page_count", "page_size", "user_version")}
    size = numbers["page_count"] * numbers["page_size"]
    return {"schema": numbers["user_version"], "size_bytes": size}


@contextmanager
def _opened(path: Path) -> Iterator[Db]:
    if not path.is_file():
        raise StoreRefused(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as db:
            yield db
    except sqlite3.Error as exc:
        raise cannot_open(str(path), exc) from exc


def _require_ours(db: Db, path: Path) -> None:
    if _number(db, "application_id") != APPLICATION_ID:
        raise SchemaMismatch(f"{path} is a database of another program")
    found = _number(db, "user_version")
    if found > SCHEMA_VERSION:
        raise SchemaMismatch(f"{path} has schema {found}: run a newer release")


def _number(db: Db, pragma: str) -> int:
    (value,) = db.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    """A name to write under; the file is there at the end, whole and on the disk, or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    if file.exists():
        raise StoreRefused(f"{file} is there already")
    try:
        yield draft
        _sync(draft)
        os.link(draft, file)
        _sync(file.parent)
    except FileExistsError as exc:
        raise StoreRefused(f"{file} is there already") from exc
    except OSError as exc:
        if exc.errno in _FULL:
            raise StoreFull(f"there is no room for {file}") from exc
        raise StoreRefused(f"{file} cannot be written: {exc.strerror}") from exc
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
