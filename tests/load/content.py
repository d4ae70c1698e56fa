"""Bytes that are known by name and offset: made and checked at memory speed, never kept.

Every object is a window onto one block of noise that repeats for ever, and begins where its name
says. The length of the block is a prime, so that no part size or page size is a multiple of it: a
piece that is lost, doubled, shifted or another object's does not look right.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator

PERIOD = 8_388_617
CHUNK_BYTES = 256 << 10
_NOISE = memoryview(random.Random(0).randbytes(PERIOD) * 2)
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def pieces(name: str, start: int, end: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """Bytes [start, end) of the object of that name; nothing is copied."""
    for position in range(start, end, chunk_bytes):
        yield _piece(name, position, min(chunk_bytes, end - position))


def difference(name: str, start: int, data: bytes | memoryview) -> int | None:
    """The offset in the object of the first wrong byte in `data`, which should begin at `start`.

    None where all of it is right.
    """
    view = memoryview(data)
    for at in range(0, len(view), CHUNK_BYTES):
        got = view[at : at + CHUNK_BYTES]
        wanted = _piece(name, start + at, len(got))
        if got != wanted:
            first = next(
                i for i, pair in enumerate(zip(got, wanted, strict=True)) if len({*pair}) > 1
            )
            return start + at + first
    return None


def _piece(name: str, start: int, size_bytes: int) -> memoryview:
    begin = (zlib.crc32(name.encode()) + start) % PERIOD
    return _NOISE[begin : begin + size_bytes]


class Known:
    """A body that tells its length; what has no length is sent in chunks."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self._name, self._size_bytes = name, size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[memoryview]:
        return pieces(self._name, 0, self._size_bytes)


def parse_size(text: str) -> int:
    """`4096`, `64KiB`, `1GiB`. Raises ValueError."""
    match = re.fullmatch(r"(\d+) ?([KMGT]iB)?", text)
    if match is None:
        raise ValueError(f"{text!r} is no size: 65536, 64KiB, 16MiB, 1GiB")
    return int(match[1]) * _UNITS[match[2] or ""]
