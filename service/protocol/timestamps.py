"""Times on the wire: RFC 3339, always with an offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_timestamp(text: str) -> datetime:
    """Digits past the microseconds are cut off. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError("not a time like 2026-01-02T03:04:05Z (RFC 3339, `+` as %2B)")
    return datetime.fromisoformat(text.upper())


def milliseconds_from(moment: datetime) -> int:
    """The first whole millisecond since 1970 that is not before the moment; 0 for older ones.

    Of times in whole milliseconds, those from `moment` on are those from this one on.
    """
    return max(0, -((_EPOCH - moment) // timedelta(milliseconds=1)))
