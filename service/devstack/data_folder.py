"""The data folder: who uses it, the credentials and ports that it keeps, and its `env` file.

DATA/lock               held while the stack runs, by the servers too
DATA/stack.json         credentials, and the ports of the last run (mode 600)
DATA/env                addresses and credentials as NAME=value lines (mode 600)
DATA/key                the first API key (mode 600; written by the command, not here)
DATA/seaweedfs, minio   the S3 server's data
DATA/sqlite/<kind>.sqlite3  metadata, one for each kind of S3 server: its names belong to its blobs
DATA/secantusdb/<kind>  the same with METADATA=mongo
DATA/log/               what the servers print
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.devstack.errors import StackError

LOCK_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """For the S3 server; made once and kept."""

    access_key: str
    secret_key: str = field(repr=False)


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Hold the data folder and yield the lock's descriptor.

    The servers inherit it, so the folder is free only when the last of them is gone; those of a
    killed run need a moment to die, hence the patience. Raises StackError where it is in use.
    """
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                owner = os.pread(descriptor, 32, 0).decode() or "unknown"
                raise StackError(f"{data} is in use by another run (process {owner})")
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Memory:
    """What a data folder remembers from run to run."""

    def __init__(self, data: Path) -> None:
        """Raises StackError where the file is not ours to understand."""
        self._path = data / "stack.json"
        kept: dict[str, object] = {}
        if self._path.exists():
            try:
                kept = json.loads(self._path.read_text())
                self.credentials = Credentials(str(kept["access_key"]), str(kept["secret_key"]))
                self._ports: dict[str, list[int]] = dict(kept["ports"])  # type: ignore[call-overload]
            except (ValueError, TypeError, KeyError) as error:
                raise StackError(f"{self._path} is damaged; remove {data} to start anew") from error
        else:
            self.credentials = Credentials(secrets.token_hex(10), secrets.token_hex(20))
            self._ports = {}
            self._save()

    def ports(self, server: str) -> list[int]:
        """Those of the last run: kept where they are free, so that addresses seldom change."""
        return self._ports.get(server, [])

    def keep_ports(self, server: str, ports: list[int]) -> None:
        if self._ports.get(server) != ports:
            self._ports[server] = ports
            self._save()

    def _save(self) -> None:
        state = {
            "access_key": self.credentials.access_key,
            "secret_key": self.credentials.secret_key,
            "ports": self._ports,
        }
        write_private(self._path, json.dumps(state, indent=1))


def sqlite_url(data: Path, s3: str) -> str:
    """The URL of the metadata beside this kind of S3 server; its folder is made."""
    file = sqlite_file(data, s3)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    return f"sqlite:///{file}"


def sqlite_file(data: Path, s3: str) -> Path:
    return data / "sqlite" / f"{s3}.sqlite3"


def refuse_to_hide(data: Path, s3: str) -> None:
    """Raises StackError where this S3 server's objects have their metadata in MongoDB only."""
    before = data / "secantusdb" / s3
    if sqlite_file(data, s3).exists() or not before.is_dir() or not any(before.iterdir()):
        return
    raise StackError(
        f"{data} keeps its metadata in MongoDB: go on with METADATA=mongo (--metadata mongo), or "
        "move them to SQLite (docs/metadata.md says how)"
    )


def write_env(path: Path, variables: Mapping[str, str]) -> None:
    """Values hold no spaces, quotes or newlines, so that a shell can source it too."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in variables.items()))


def write_private(path: Path, text: str) -> None:
    """Replace a file whole; only its owner can read it, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
