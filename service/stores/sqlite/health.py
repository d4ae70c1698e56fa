"""What a database file must be before it is trusted: ours, whole, and on a disk of this machine."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import structlog

from service.errors import StoreRefused
from service.stores.sqlite.driver import Db
from service.stores.sqlite.errors import DAMAGED, WAY_OUT

log = structlog.get_logger()

CHECK_S = 3.0
"""How long the check may hold up a start; a large file is checked whole by `mediagate metadata
check`."""
_STEPS_BETWEEN_LOOKS = 100_000
_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre"} | {"nfs", "nfs4", "smb3"}
)


def check_integrity(db: Db, path: Path, *, seconds: float | None = CHECK_S) -> bool:
    """Whether the check came to its end. Raises StoreRefused for a damaged file.

    seconds: None for as long as it takes.
    """
    until = None if seconds is None else time.monotonic() + seconds
    db.set_progress_handler(
        lambda: int(until is not None and time.monotonic() > until), _STEPS_BETWEEN_LOOKS
    )
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return False
    except sqlite3.DatabaseError as exc:
        raise StoreRefused(f"{DAMAGED}, {path}: {exc}. {WAY_OUT}") from exc
    finally:
        db.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise StoreRefused(f"{DAMAGED}, {path}: {'; '.join(found)}. {WAY_OUT}")
    return True


def warn_of_network(path: Path) -> None:
    """Locks and the shared memory of the log are not reliable there."""
    kind = file_system_of(path)
    if kind in _REMOTE:
        log.warning("metadata_on_network_file_system", path=str(path), file_system=kind)


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the file system that `path` lies on, None where the system does not say."""
    try:
        device = os.stat(path).st_dev
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted]:
            return after.split()[0]
    return None
