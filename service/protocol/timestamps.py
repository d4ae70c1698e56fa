"""Times as whole milliseconds, which is how both stores keep them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, what is past them cut off."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def milliseconds_from(moment: datetime) -> int:
    """The first whole millisecond since 1970 that is not before the moment; 0 for older ones."""
    return max(0, -((_EPOCH - moment) // timedelta(milliseconds=1)))
