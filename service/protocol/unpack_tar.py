"""Entries of a tar, plain or in gzip, read from its start to its end.

`tarfile` reads the extensions of a header (a long name, PAX records, maps of sparse files) into
memory, as many and as long as the archive says, so what may be read for one entry is bounded. It
takes a broken header for the end, so the end must have its mark: a block of zeros. A sparse file
would become more bytes than came, which nobody means here: refused.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from service.errors import Invalid, TooLarge
from service.protocol.unpacking import PIECE_BYTES, Entry, Meter

_MOST_HEADER_BYTES = 1 << 20
_SKIP_BYTES = 64 << 10
_KINDS = (
    (tarfile.TarInfo.issym, "is a symbolic link"),
    (tarfile.TarInfo.islnk, "is a hard link"),
    (tarfile.TarInfo.isdev, "is a device or a pipe"),
    (tarfile.TarInfo.issparse, "is a sparse file"),
)


def unpack_tar(source: Iterable[bytes], meter: Meter) -> Iterator[Entry]:
    """Raises Invalid, TooLarge, and what `source` raises."""
    return _entries(_Pieces(meter.feed(source), _MOST_HEADER_BYTES), meter)


def unpack_tar_gz(source: Iterable[bytes], meter: Meter) -> Iterator[Entry]:
    """As `unpack_tar`. What is between the entries counts as unpacked, too: a gzip of headers or
    of zeros behind the end is a bomb like any other."""
    pieces = cast(IO[bytes], _Pieces(meter.feed(source)))
    return _entries(_Pieces(_inflated(pieces, meter), _MOST_HEADER_BYTES), meter, counts=False)


def _inflated(pieces: IO[bytes], meter: Meter) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=pieces, mode="rb") as file:
        while piece := file.read(_SKIP_BYTES):
            meter.unpacked(len(piece))
            yield piece


def _entries(stream: _Pieces, meter: Meter, *, counts: bool = True) -> Iterator[Entry]:
    """counts: whether the bytes of entries are counted here."""
    with _told():
        with tarfile.TarFile(fileobj=cast(IO[bytes], stream), mode="r", encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                # Else it remembers them all.
                tar.members, tar.pax_headers = [], {}  # type: ignore[attr-defined]
                yield from _entry(tar, stream, member, meter, counts=counts)
                stream.allowed_bytes = _MOST_HEADER_BYTES
        if stream.last != bytes(tarfile.BLOCKSIZE):
            raise Invalid("the archive has a broken header, or breaks off before its end")
        stream.drain()


@contextmanager
def _told() -> Iterator[None]:
    """What the libraries raise, in our words."""
    try:
        yield
    except RecursionError as error:
        raise TooLarge("an entry of the archive has too many headers") from error
    except (tarfile.TarError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise Invalid(f"the archive is broken: {error}") from error


def _entry(
    tar: tarfile.TarFile,
    stream: _Pieces,
    member: tarfile.TarInfo,
    meter: Meter,
    *,
    counts: bool,
) -> Iterator[Entry]:
    name = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    problem = next((says for kind, says in _KINDS if kind(member)), None)
    if problem is None and not (member.isfile() or member.isdir()):
        problem = "is of a kind that is not known"
    sized = problem is None and member.isfile()
    if member.size < 0:
        raise Invalid("an entry of the archive has a negative size")
    meter.begin(member.size if sized else None)
    if problem is not None:
        yield Entry(name, None, problem=problem)
    elif sized:
        chunks = _chunks(tar, stream, member)
        yield Entry(name, member.size, meter.counted(chunks) if counts else chunks)


def _chunks(tar: tarfile.TarFile, stream: _Pieces, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(member)
    assert file is not None
    stream.allowed_bytes = PIECE_BYTES
    with _told():
        while chunk := file.read(PIECE_BYTES):
            yield chunk
            stream.allowed_bytes = PIECE_BYTES


class _Pieces:
    """Pieces as a file that is read forward only, as much as `tarfile` and `gzip` need of one.

    allowed_bytes: how many more may be read, None for any number. last: what was read last.
    """

    def __init__(self, pieces: Iterator[bytes], allowed_bytes: int | None = None) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._at = 0
        self.allowed_bytes = allowed_bytes
        self.last = b""

    def read(self, size: int) -> bytes:
        if self.allowed_bytes is not None:
            self.allowed_bytes -= size
            if self.allowed_bytes < 0:
                raise TooLarge("the headers of an entry of the archive are too long")
        found = bytearray()
        while len(found) < size and self._fill():
            found += self._taken(size - len(found))
        self.last = bytes(found)
        return self.last

    def seek(self, position: int) -> int:
        """What is passed over counts where it was made."""
        while self._at < position and self._fill():
            self._taken(position - self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def drain(self) -> None:
        while self._fill():
            self._taken(len(self._rest))

    def _fill(self) -> bool:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._rest = memoryview(piece)
        return True

    def _taken(self, size_bytes: int) -> memoryview:
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        self._at += len(taken)
        return taken
