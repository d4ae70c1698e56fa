"""What a program that is killed knows when it is started again: its unfinished uploads.

One small JSON file for each, named after the digest of server, path and object, in a folder that
only its owner reads. It is written in whole before the first byte is sent, and goes when the upload
is over, so what a crash leaves is an entry of an upload that is unfinished, or that the service
says is gone. Beside it stands a lock, held while somebody sends: two would only overtake one
another. Losing the folder costs sending again; it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from service.client.sources import State
from service.errors import Conflict

_KEPT_S = 30 * 24 * 3600
"""Longer than a service keeps unfinished uploads, unless it is told to keep them very long."""


def default_journal_path() -> Path:
    """Where a user's state is (XDG Base Directory Specification)."""
    states = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(states) / "mediagate" / "uploads"


@dataclass(frozen=True, slots=True)
class Planned:
    """What an upload is, before it has begun. terms: a digest of all that is said of the object."""

    server: str
    path: str
    bucket: str
    key: str
    size_bytes: int
    modified_ns: int
    inode: int
    terms: str

    @classmethod
    def of(
        cls,
        server: str,
        path: Path,
        state: State,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
    ) -> Self:
        terms = hashlib.sha256(json.dumps(sorted(headers.items())).encode()).hexdigest()
        return cls(server, os.path.abspath(path), bucket, key, *state, terms)

    @property
    def name(self) -> str:
        """The same for another state of the file, or other terms."""
        named = json.dumps([self.server, self.path, self.bucket, self.key])
        return hashlib.sha256(named.encode()).hexdigest()[:32]


class Entry:
    """One upload's entry, locked until it is closed; all calls block.

    upload: the id of the unfinished upload to go on with. stale: that of one of another state of
    the file, or on other terms, which is good for nothing any more.
    """

    def __init__(self, path: Path, planned: Planned, lock: int) -> None:
        self._path, self._planned, self._lock = path, planned, lock
        self.upload: str | None = None
        self.stale: str | None = None
        found = _read(path)
        upload = found.pop("upload", None)
        if isinstance(upload, str) and upload:
            if found == asdict(planned):
                self.upload = upload
            else:
                self.stale = upload

    def keep(self, upload: str) -> None:
        """On disk when it returns. Raises OSError, and nothing is changed."""
        text = json.dumps(asdict(self._planned) | {"upload": upload})
        # mkstemp makes it 0600.
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.stem)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self.upload, self.stale = upload, None

    def forget(self) -> None:
        self.upload = self.stale = None
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """The lock goes too: `_locked` sees that what it has locked is no longer there."""
        self._path.with_suffix(".lock").unlink(missing_ok=True)
        os.close(self._lock)


class UploadJournal:
    """folder: `default_journal_path()` where it is None; made when it is needed."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or default_journal_path()

    def open(self, planned: Planned) -> Entry:
        """Blocks. Raises Conflict where another process sends the same file there."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prune()
        path = self._folder / f"{planned.name}.json"
        lock = _locked(path.with_suffix(".lock"))
        if lock is None:
            raise Conflict(
                f"another transfer sends {planned.path} to mg://{planned.bucket}/{planned.key}"
            )
        return Entry(path, planned, lock)

    def _prune(self) -> None:
        """Whatever nobody came back for."""
        oldest = time.time() - _KEPT_S
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _locked(path: Path) -> int | None:
    """An open descriptor of the locked file; None where another has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            return None
        # It was removed between the two steps: once more, on the new one.
        os.close(descriptor)


def _read(path: Path) -> dict[str, object]:
    """Empty where there is none, or it is damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
