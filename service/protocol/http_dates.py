"""HTTP dates (RFC 9110 §5.6.7): seconds, UTC. Written as IMF-fixdate, read in all three forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY, _MONTH = f"(?:{'|'.join(_DAYS)})", f"(?P<month>{'|'.join(_MONTHS)})"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = (
    re.compile(rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def format_http_date(moment: datetime) -> str:
    """moment: aware; fractions of a second are cut off."""
    utc = moment.astimezone(UTC)
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} "
        f"{utc.hour:02}:{utc.minute:02}:{utc.second:02} GMT"
    )


def parse_http_date(text: str, *, this_year: int | None = None) -> datetime | None:
    """None for what is no HTTP-date: every field that holds one is then ignored (§13.1.3, §13.1.4).

    this_year: what the two digits of an RFC 850 year are read against; the present by default.
    """
    for form in _FORMS:
        match = form.fullmatch(text.strip(" \t"))
        if match:
            return _moment(match.groupdict(), this_year or datetime.now(UTC).year)
    return None


def _moment(parts: dict[str, str], this_year: int) -> datetime | None:
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year += this_year - this_year % 100
        # More than 50 years ahead means the century before.
        year -= 100 if year > this_year + 50 else 0
    second = int(parts["second"])
    leap = second == 60
    try:
        moment = datetime(
            year,
            _MONTHS.index(parts["month"]) + 1,
            int(parts["day"]),
            int(parts["hour"]),
            int(parts["minute"]),
            59 if leap else second,
            tzinfo=UTC,
        )
        return moment + timedelta(seconds=1) if leap else moment
    except (ValueError, OverflowError):
        return None
