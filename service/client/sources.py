"""Where the bytes of an upload come from.

Some sources can be read again, so their upload is sent again when a connection breaks: files, bytes
and file objects that can seek. The others, iterators and pipes, are sent once.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from service.client.io_thread import CHUNK_BYTES, BlockingThread
from service.errors import Conflict

Source = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes]
    | Iterable[bytes]
)  # fmt: skip
"""A path, bytes, a binary file object, or chunks."""


class State(NamedTuple):
    """As long as it is the same, so are the bytes."""

    size_bytes: int
    modified_ns: int = 0
    inode: int = 0

    @classmethod
    def of(cls, found: os.stat_result) -> State:
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class Replayable(Protocol):
    """name: of the file, None where there is none."""

    name: str | None

    def state(self) -> State:
        """Blocks."""

    def chunks(
        self, thread: BlockingThread, size_bytes: int, start: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """Bytes [start, size_bytes). Raises Conflict where there are fewer. To be closed."""


class _Reader:
    """Opened and closed in the thread, so that no file stays open that nobody waits for."""

    def __init__(self, path: Path, start: int) -> None:
        self._path, self._start = path, start
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._file = self._path.open("rb")
        self._file.seek(self._start)

    def read(self, size_bytes: int) -> bytes:
        assert self._file is not None
        return self._file.read(size_bytes)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class FileSource:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name: str | None = path.name

    def __str__(self) -> str:
        return str(self.path)

    def state(self) -> State:
        return State.of(self.path.stat())

    async def chunks(
        self, thread: BlockingThread, size_bytes: int, start: int = 0
    ) -> AsyncGenerator[bytes, None]:
        left_bytes = size_bytes - start
        reader = _Reader(self.path, start)
        try:
            await thread.run(reader.open)
            while left_bytes:
                chunk = await thread.run(reader.read, min(CHUNK_BYTES, left_bytes))
                if not chunk:
                    raise Conflict(f"{self} became shorter while it was sent")
                left_bytes -= len(chunk)
                yield chunk
        finally:
            # An attempt that was given up may still read in the thread: behind that.
            thread.post(reader.close)


class BytesSource:
    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = bytes(data)
        self.name: str | None = None

    def __str__(self) -> str:
        return "what was given"

    def state(self) -> State:
        return State(len(self._data))

    async def chunks(
        self, thread: BlockingThread, size_bytes: int, start: int = 0
    ) -> AsyncGenerator[bytes, None]:
        for at in range(start, size_bytes, CHUNK_BYTES):
            yield self._data[at : min(at + CHUNK_BYTES, size_bytes)]


class SeekableSource:
    """A file object from where it stands to its end; it is left open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell()
        name = getattr(file, "name", None)
        self.name = Path(name).name if isinstance(name, str) else None

    def __str__(self) -> str:
        return self.name or "the file object"

    def state(self) -> State:
        return State(self._file.seek(0, os.SEEK_END) - self._start)

    async def chunks(
        self, thread: BlockingThread, size_bytes: int, start: int = 0
    ) -> AsyncGenerator[bytes, None]:
        def read(done_bytes: int) -> bytes:
            # With its place each time: an attempt that was given up may have read in between.
            self._file.seek(self._start + done_bytes)
            return self._file.read(min(CHUNK_BYTES, size_bytes - done_bytes))

        done_bytes = start
        while done_bytes < size_bytes:
            chunk = await thread.run(read, done_bytes)
            if not chunk:
                raise Conflict(f"{self} became shorter while it was sent")
            done_bytes += len(chunk)
            yield chunk


def as_source(source: Source) -> Replayable | AsyncIterator[bytes]:
    """What can be read again, or else chunks to be taken once."""
    if isinstance(source, str | os.PathLike):
        return FileSource(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesSource(source)
    if isinstance(source, AsyncIterable):
        return aiter(source)
    if hasattr(source, "read"):
        file = cast(BinaryIO, source)
        return SeekableSource(file) if file.seekable() else _read(file)
    return _taken(source)


async def _read(file: BinaryIO) -> AsyncIterator[bytes]:
    async with BlockingThread() as thread:
        while chunk := await thread.run(file.read, CHUNK_BYTES):
            yield chunk


async def _taken(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    iterator = iter(chunks)
    async with BlockingThread() as thread:
        while (chunk := await thread.run(next, iterator, None)) is not None:
            yield chunk
