"""Entries of a zip, read from its start to its end.

A zip may be read so because each entry has a header of its own; but that says less than the
directory at the end. So what came is compared with the directory once that is here: it must list
as many entries, and it alone tells which of them are links. An entry that is stored (not deflated)
with its size behind it says nowhere where it ends, and an encrypted one cannot be passed over:
either ends the archive.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from stream_unzip import (
    MissingPasswordError,
    NotStreamUnzippable,
    PasswordError,
    UnzipError,
    stream_unzip,
)

from service.errors import Invalid, TooLarge
from service.protocol.unpacking import PIECE_BYTES, Entry, Meter, decode_name

_LINK = "is a link"
_MORE_BYTES_AN_ENTRY, _LEAST_MORE_BYTES = 2 << 10, 1 << 20
_GIVEN_BACK_BYTES = 64
"""More than what stands between the data of an entry and the next header: 24 bytes at most."""
_UNIX = 3


def unpack_zip(source: Iterable[bytes], meter: Meter) -> Iterator[Entry]:
    """Raises Invalid, TooLarge, and what `source` raises."""
    tail = _Tail(meter)
    names: list[str] = []
    with _told(names):
        for raw, size_bytes, chunks in stream_unzip(
            tail.passing(meter.feed(source)), chunk_size=PIECE_BYTES
        ):
            tail.keep_little()
            name = decode_name(raw)
            names.append(name)
            meter.begin(size_bytes)
            counted = _told_of(meter.counted(chunks), names)
            if not name.endswith("/"):
                yield Entry(name, size_bytes, counted)
            for _ in counted:
                pass
            tail.keep_all()
        yield from _compared(names, tail)


@contextmanager
def _told(names: list[str]) -> Iterator[None]:
    """What the libraries raise, in our words. names: of the entries so far."""
    try:
        yield
    except (PasswordError, MissingPasswordError) as error:
        raise Invalid(f"entry {len(names) + 1} of the zip is encrypted") from error
    except NotStreamUnzippable as error:
        raise Invalid(
            f"entry {len(names) + 1} of the zip is stored with its size behind it, so where it "
            "ends cannot be told: pack it with compression, or into a file first"
        ) from error
    except UnzipError as error:
        raise Invalid(f"the zip is broken: {type(error).__name__}") from error
    except zipfile.BadZipFile as error:
        raise Invalid(f"the directory of the zip is broken: {error}") from error


def _told_of(chunks: Iterator[bytes], names: list[str]) -> Iterator[bytes]:
    with _told(names):
        yield from chunks


def _compared(names: list[str], tail: _Tail) -> Iterator[Entry]:
    with zipfile.ZipFile(cast(IO[bytes], tail.file())) as found:
        listed = found.infolist()
    if len(listed) != len(names):
        raise Invalid(f"the zip has {len(names)} entries and lists {len(listed)}")
    for name, info in zip(names, listed, strict=True):
        if info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16):
            yield Entry(name, None, problem=_LINK, again=True)


class _Tail:
    """The end of what was fed, from the last entry on: the directory lies there."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._pieces: deque[bytes] = deque()
        self._size_bytes = 0
        self._all = True

    def passing(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._pieces.append(piece)
            self._size_bytes += len(piece)
            if not self._all:
                self._drop()
            elif self._size_bytes > (
                _LEAST_MORE_BYTES + _MORE_BYTES_AN_ENTRY * self._meter.entries
            ):
                raise TooLarge("there is too much behind the last entry of the zip")
            yield piece

    def keep_little(self) -> None:
        """While an entry is read: what it left unread may begin in the piece before the last."""
        self._all = False
        self._drop()

    def keep_all(self) -> None:
        self._all = True

    def file(self) -> io.BufferedReader:
        tail = b"".join(self._pieces)
        return io.BufferedReader(_Placed(tail, self._meter.fed_bytes - len(tail)))

    def _drop(self) -> None:
        """All but the piece in use and the few bytes before it that may be given back to it."""
        while (
            len(self._pieces) > 1
            and self._size_bytes - len(self._pieces[0]) - len(self._pieces[-1]) >= _GIVEN_BACK_BYTES
        ):
            self._size_bytes -= len(self._pieces.popleft())


class _Placed(io.RawIOBase):
    """Bytes at their place in a file whose beginning is gone, and reads as zeros."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self._start + len(self._data)
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: end}[whence]
        if self._at < 0:
            raise OSError("before the beginning")
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = len(buffer)
        zeros = bytes(min(wanted, max(0, self._start - self._at)))
        begin = max(0, self._at - self._start)
        found = zeros + self._data[begin : begin + wanted - len(zeros)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
