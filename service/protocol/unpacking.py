"""Unpacking: the bytes of an archive become its entries while they come, nothing is held back.

Plain generators for a thread of their own: they block on `source`, and decompressing takes time.
Every byte counts: entries, unpacked bytes, and how many of these a byte that came was made to (a
*bomb*), of each entry and of the whole. What is over a cap ends the archive with TooLarge, what is
broken with Invalid; what is wrong with one entry alone is told by its `problem`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from service.errors import Invalid, InvalidKey, TooLarge
from service.protocol.names import MAX_KEY_BYTES, validate_key

PIECE_BYTES = 256 << 10
"""At most so long are the chunks of an entry."""
_FED_BYTES = 64 << 10
RATIO_FREE_BYTES = 1 << 20
"""So much of an entry, and of the whole, may come of nothing: a few zeros are no bomb."""
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Caps:
    max_entries: int
    max_bytes: int
    max_ratio: int


@dataclass(slots=True)
class Entry:
    """chunks: to be read before the next entry is asked for, or never. size_bytes: as told.

    problem: why it is none to be stored. again: it was given before; only the end of the archive
    told what is wrong with it.
    """

    name: str
    size_bytes: int | None
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    problem: str | None = None
    again: bool = False


Unpacking = Callable[[Iterable[bytes], "Meter"], Iterator[Entry]]


class Meter:
    """Counts what came and what it became. Every method raises TooLarge."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._entry_bytes = 0
        self._fed_before_entry = 0
        self.fed_bytes = 0
        self.unpacked_bytes = 0
        self.entries = 0

    def feed(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """What came in small pieces, so that what was fed is about what was used."""
        for chunk in source:
            view = memoryview(chunk)
            for start in range(0, len(view), _FED_BYTES):
                piece = bytes(view[start : start + _FED_BYTES])
                self.fed_bytes += len(piece)
                yield piece

    def begin(self, size_bytes: int | None) -> None:
        """size_bytes: what the archive says of the entry; a lie in either direction is found."""
        self.entries += 1
        if self.entries > self._caps.max_entries:
            limit = self._caps.max_entries
            raise TooLarge(f"the archive has more than {limit} entries", limit=limit)
        self._entry_bytes = 0
        self._fed_before_entry = max(0, self.fed_bytes - _FED_BYTES)
        self._check_bytes(self.unpacked_bytes + (size_bytes or 0))

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.unpacked(len(chunk))
            yield chunk

    def unpacked(self, size_bytes: int) -> None:
        self.unpacked_bytes += size_bytes
        self._entry_bytes += size_bytes
        self._check_bytes(self.unpacked_bytes)
        self._check_ratio(self.unpacked_bytes, self.fed_bytes)
        self._check_ratio(self._entry_bytes, self.fed_bytes - self._fed_before_entry)

    def _check_bytes(self, size_bytes: int) -> None:
        limit = self._caps.max_bytes
        if size_bytes > limit:
            raise TooLarge(f"the archive unpacks to more than {limit} bytes", limit_bytes=limit)

    def _check_ratio(self, unpacked: int, fed: int) -> None:
        limit = self._caps.max_ratio
        if unpacked > RATIO_FREE_BYTES and unpacked > limit * fed:
            raise TooLarge(f"the archive unpacks to more than {limit} times its size", limit=limit)


def entry_key(name: str, prefix: str) -> str:
    """The key of an entry; `./a` is `a`, as `tar` writes it. Raises InvalidKey."""
    plain = name
    while plain.startswith("./"):
        plain = plain[2:]
    if _DRIVE.match(plain):
        raise InvalidKey("the name begins with a drive letter")
    if plain.startswith("/"):
        raise InvalidKey("the name is an absolute path")
    validate_key(plain)
    return validate_key(prefix + plain)


def decode_name(raw: bytes) -> str:
    """UTF-8 where it is that, else code page 437, the one of a zip that says nothing."""
    if len(raw) > 4 * MAX_KEY_BYTES:
        raise Invalid(f"the name of an entry has {len(raw)} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
