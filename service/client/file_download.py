"""GET into a file that is whole or not there, and that goes on where the last attempt broke off.

The bytes gather in `NAME.<version>.part` beside the file; the entity tag of the version stands in
its name, so a later call knows what it has a part of. What a crash leaves is such a part. At the
end it is held against the version's CRC64NVME, made durable, and renamed.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import BinaryIO

from service.client.checksum import NAME, Crc64
from service.client.connection import Connection
from service.client.download import Download, Target, open_download
from service.client.io_thread import CHUNK_BYTES, BlockingThread
from service.client.patience import Progress
from service.client.problems import UnexpectedAnswer
from service.errors import Conflict, DigestMismatch, PreconditionFailed, RangeNotSatisfiable

_ATTEMPTS = 3
_VERSION = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
"""A ULID: an entity tag of any other form is not let into a file name."""


class _Part:
    """The part file of one version, locked while it is open; it goes on at `size_bytes`."""

    def __init__(self, file: BinaryIO, path: Path, version: str) -> None:
        self.path = path
        self.version = version
        self._file = file
        self._crc = Crc64()
        self.size_bytes = 0

    @classmethod
    def open(cls, target: Path, version: str) -> _Part:
        """Raises Conflict where another transfer writes it."""
        path = target.with_name(f"{target.name}.{version}.part")
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise Conflict(f"another transfer writes {path}") from error
        except BaseException:
            file.close()
            raise
        return cls(file, path, version)

    def take_up(self) -> None:
        """Sum up what is there, all but the last byte: so there is always a byte to ask for."""
        self._file.seek(0, os.SEEK_END)
        self._file.truncate(max(0, self._file.tell() - 1))
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            self._crc.update(chunk)
            self.size_bytes += len(chunk)

    def empty(self) -> None:
        self._file.truncate(0)
        self._crc, self.size_bytes = Crc64(), 0

    def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._crc.update(chunk)
            self._file.write(chunk)
            self.size_bytes += len(chunk)

    def finish(self, target: Path, digest: bytes | None) -> None:
        """Raises DigestMismatch, and leaves nothing then."""
        try:
            self._crc.check(digest, self.path.name)
        except DigestMismatch:
            self.path.unlink()
            raise
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.replace(target)
        sync_folder(target.parent)

    def close(self) -> None:
        """Flushes what came: the next attempt goes on behind it."""
        self._file.close()


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(target: Path) -> list[Path]:
    """What earlier transfers left, the latest first."""
    head, tail = target.name + ".", ".part"
    found = [
        path
        for path in target.parent.iterdir()
        if path.name.startswith(head)
        and path.name.endswith(tail)
        and _VERSION.fullmatch(path.name[len(head) : -len(tail)])
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


async def get_to_file(
    connection: Connection, target: Target, path: Path, progress: Progress
) -> Download:
    """Returns what was downloaded, with its entity tag and digests. An existing file is replaced.

    Raises Conflict where another transfer into the same file is under way, DigestMismatch where the
    bytes are not those of the version even when fetched afresh.
    """
    async with BlockingThread() as thread:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await _attempt(thread, connection, target, path, progress)
            except (DigestMismatch, RangeNotSatisfiable, PreconditionFailed):
                # A part that was spoilt, or a version that was replaced: begin again.
                continue
        return await _attempt(thread, connection, target, path, progress)


async def _attempt(
    thread: BlockingThread,
    connection: Connection,
    target: Target,
    path: Path,
    progress: Progress,
) -> Download:
    part = await thread.run(_take_up, path)
    try:
        headers = {}
        if part is not None and part.size_bytes:
            headers = {"Range": f"bytes={part.size_bytes}-", "If-Range": f'"{part.version}"'}
        async with open_download(connection, target, headers) as download:
            part = await thread.run(_part_for, path, part, download)
            await _copy(thread, download, part, progress)
        await thread.run(part.finish, path, download.digests.get(NAME))
    except RangeNotSatisfiable:
        if part is not None:
            await thread.run(part.path.unlink)
        raise
    else:
        return download
    finally:
        if part is not None:
            await thread.run(part.close)


def _take_up(path: Path) -> _Part | None:
    """The latest part, ready to go on."""
    for left in _parts(path):
        part = _Part.open(path, left.name.rsplit(".", 2)[1])
        part.take_up()
        return part
    return None


def _part_for(path: Path, part: _Part | None, download: Download) -> _Part:
    """The part that this download goes on with: the one there, or an empty one."""
    etag = download.etag.strip('"')
    if part is not None and download.start == part.size_bytes and part.version == etag:
        return part
    if part is not None:
        part.path.unlink()
        part.close()
    if download.start:
        raise UnexpectedAnswer("the answer goes on with another version than was asked for")
    part = _Part.open(path, etag if _VERSION.fullmatch(etag) else "new")
    part.empty()
    return part


async def _copy(
    thread: BlockingThread, download: Download, part: _Part, progress: Progress
) -> None:
    """Chunks are gathered, since each trip to the thread costs."""
    gathered: list[bytes] = []
    waiting_bytes, done_bytes = 0, part.size_bytes
    progress(done_bytes, download.size_bytes)
    try:
        async for chunk in download.chunks():
            gathered.append(chunk)
            waiting_bytes += len(chunk)
            done_bytes += len(chunk)
            progress(done_bytes, download.size_bytes)
            if waiting_bytes >= CHUNK_BYTES:
                batch, gathered, waiting_bytes = gathered, [], 0
                await thread.run(part.write, batch)
    finally:
        await thread.run(part.write, gathered)
