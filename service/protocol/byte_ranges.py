"""Byte ranges: `Range`, `Content-Range` and the framing of `multipart/byteranges`.

The inclusive form of HTTP exists in this file only; everything else says [start, end).
Source: RFC 9110 §14.1.2, §14.2, §14.4, §14.6, §15.3.7.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.errors import RangeNotSatisfiable

MAX_RANGES = 100
_UNIT = re.compile(r"bytes=(.*)", re.IGNORECASE | re.DOTALL)
# Numbers have a length, or int() itself would become the attack.
_SPEC = re.compile(r"([0-9]{1,200})-([0-9]{0,200})|-([0-9]{1,200})")


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Bytes [start, end), never empty."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


def parse_range(field: str | None, size_bytes: int) -> tuple[ByteRange, ...] | None:
    """The ranges to send, in the order asked for, overlapping and adjacent ones joined.

    None: there is no range to honour, send the whole representation (another unit, malformed,
    more than 100 ranges, or a suffix of an empty representation, which is all of it).
    Raises RangeNotSatisfiable(size_bytes=…) where no range lies within the representation.
    """
    specs = _specs(field)
    if specs is None:
        return None
    found = []
    for first, last in specs:
        if first is None:
            if last and not size_bytes:
                return None
            start, end = max(0, size_bytes - (last or 0)), size_bytes
        else:
            start, end = first, size_bytes if last is None else min(last + 1, size_bytes)
        if start < end:
            found.append(ByteRange(start, end))
    if not found:
        raise RangeNotSatisfiable(size_bytes=size_bytes)
    return coalesce(found)


def _specs(field: str | None) -> list[tuple[int | None, int | None]] | None:
    """(first, last) as written, last None for `a-`, first None for `-n`; None if malformed."""
    unit = _UNIT.fullmatch(field) if field else None
    if unit is None:
        return None
    elements = [text for text in (part.strip(" \t") for part in unit[1].split(",")) if text]
    if not 1 <= len(elements) <= MAX_RANGES:
        return None
    specs: list[tuple[int | None, int | None]] = []
    for element in elements:
        match = _SPEC.fullmatch(element)
        if match is None:
            return None
        if match[3]:
            specs.append((None, int(match[3])))
            continue
        first, last = int(match[1]), int(match[2]) if match[2] else None
        if last is not None and last < first:
            return None
        specs.append((first, last))
    return specs


def coalesce(ranges: Sequence[ByteRange]) -> tuple[ByteRange, ...]:
    """Join what overlaps or touches; a joined range stands where its first one stood."""
    joined: list[tuple[int, ByteRange]] = []
    for position, item in sorted(enumerate(ranges), key=lambda pair: pair[1]):
        if joined and item.start <= joined[-1][1].end:
            earlier, last = joined[-1]
            joined[-1] = (min(earlier, position), ByteRange(last.start, max(last.end, item.end)))
        else:
            joined.append((position, item))
    return tuple(item for _, item in sorted(joined))


def content_range(item: ByteRange, size_bytes: int) -> str:
    return f"bytes {item.start}-{item.end - 1}/{size_bytes}"


def unsatisfied_range(size_bytes: int) -> str:
    """`Content-Range` of a 416."""
    return f"bytes */{size_bytes}"


@dataclass(frozen=True, slots=True)
class MultipartFraming:
    """What stands around the ranges of a `multipart/byteranges` body; its length is known before.

    heads: one per range, to be sent before its bytes; tail: after the last one.
    """

    boundary: str
    heads: tuple[bytes, ...]
    tail: bytes
    content_length: int

    @property
    def content_type(self) -> str:
        return f"multipart/byteranges; boundary={self.boundary}"


def frame(
    ranges: Sequence[ByteRange], size_bytes: int, content_type: str, boundary: str
) -> MultipartFraming:
    """boundary: random, so that no content can hold it; only letters and digits."""
    heads = tuple(_heads(ranges, size_bytes, content_type, boundary))
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(map(len, heads)) + sum(item.size_bytes for item in ranges) + len(tail)
    return MultipartFraming(boundary, heads, tail, length)


def _heads(
    ranges: Sequence[ByteRange], size_bytes: int, content_type: str, boundary: str
) -> Iterable[bytes]:
    before = ""
    for item in ranges:
        yield (
            f"{before}--{boundary}\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Range: {content_range(item, size_bytes)}\r\n\r\n"
        ).encode("ascii")
        before = "\r\n"
