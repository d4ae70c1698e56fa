"""The database's clock is the machine's: all processes that share the file have the same one.

Times are kept as whole milliseconds since 1970.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def in_future(seconds: float) -> int:
    """The time in so many seconds."""
    return now_ms() + round(seconds * 1000)


def past(seconds: float) -> int:
    """The time so many seconds ago."""
    return in_future(-seconds)


def moment(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * _MILLISECOND


def maybe_moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else moment(milliseconds)


def in_ms(at: datetime) -> int:
    return (at - EPOCH) // _MILLISECOND
