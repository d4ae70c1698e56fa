"""Journal objects: gzip of JSON lines, a header first, then events in the order of `order_of`.

The header is {format, first, last, count, crc}: the positions that the object spans, how many
lines follow, and the CRC-64/NVME of those lines with their ends. It is checked on every read, so
an object that was damaged or cut short is never taken for a smaller journal.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import orjson
from awscrt import checksums

from service.errors import JournalDamaged

FORMAT = 1
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One event as it is stored; what is needed to sort, to merge and to judge it is parsed.

    alone: for a removal, since when nothing else is known of its subject (`compact_journal.py`).
    """

    subject: str
    seq: int
    id: str
    position: int
    type: str
    raw: bytes
    alone: datetime | None = None

    @property
    def order(self) -> tuple[str, int, str]:
        """Duplicates of one event stand side by side, the last of a subject at its end."""
        return self.subject, self.seq, self.id


def parse_line(raw: bytes) -> Line:
    """Raises JournalDamaged."""
    try:
        named = orjson.loads(raw)
        return Line(
            named["subject"],
            named["seq"],
            named["id"],
            named["position"],
            named["type"],
            raw,
            datetime.fromisoformat(named["alone"]) if "alone" in named else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise JournalDamaged("a line of the journal is no event") from error


def marked_alone(line: Line, since: datetime | None) -> Line:
    """The same event with another mark, or without one."""
    if line.alone == since:
        return line
    named = orjson.loads(line.raw)
    named.pop("alone", None)
    if since is not None:
        named["alone"] = since
    return replace(line, raw=orjson.dumps(named), alone=since)


def encode_object(lines: Sequence[Line]) -> bytes:
    """lines: at least one, in the order of `Line.order`."""
    body = b"".join(line.raw + b"\n" for line in lines)
    positions = [line.position for line in lines]
    header = {
        "format": FORMAT,
        "first": min(positions),
        "last": max(positions),
        "count": len(lines),
        "crc": f"{checksums.crc64nvme(body):016x}",
    }
    return gzip.compress(orjson.dumps(header) + b"\n" + body, _LEVEL, mtime=0)


def decode_object(data: bytes) -> list[Line]:
    """Raises JournalDamaged, also for a format of a later release."""
    try:
        head, _, body = gzip.decompress(data).partition(b"\n")
        header = orjson.loads(head)
        found = header["format"], header["count"], int(header["crc"], 16)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise JournalDamaged("not a journal object") from error
    raws = body.split(b"\n")[:-1]
    if found[0] != FORMAT:
        raise JournalDamaged(f"a journal object of format {found[0]}, known is {FORMAT}")
    if found[1:] != (len(raws), checksums.crc64nvme(body)):
        raise JournalDamaged("a journal object is not what was written")
    return [parse_line(raw) for raw in raws]
