from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.protocol.http_dates import format_http_date, parse_http_date

EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001
def test_dates_round_trip_to_the_second(moment):
    assert parse_http_date(format_http_date(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_forms_are_read(text):
    assert parse_http_date(text, this_year=2026) == EXAMPLE


def test_a_two_digit_year_is_at_most_fifty_years_ahead():
    text = "Sunday, 06-Nov-{} 08:49:37 GMT"
    assert parse_http_date(text.format("76"), this_year=2026).year == 2076
    assert parse_http_date(text.format("77"), this_year=2026).year == 1977


def test_a_leap_second_is_the_next_minute():
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == datetime(2017, 1, 1, tzinfo=UTC)


def test_zones_are_turned_into_gmt():
    moment = EXAMPLE.astimezone(timezone(timedelta(hours=9)))
    assert format_http_date(moment) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text",
    ["", "now", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
     "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
     "Sun, 06 Nov 1994 25:49:37 GMT",
     "Sun, 06 Nov 1994 08:49:61 GMT", "sun, 06 nov 1994 08:49:37 gmt",
     "Sun, 06 Nov 0000 08:49:37 GMT",
     "Sun, ٠6 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:60 GMT"],
)  # fmt: skip
def test_what_is_no_date_is_none(text):
    assert parse_http_date(text) is None


@given(st.text())
def test_any_text_is_a_date_or_none(text):
    assert parse_http_date(text) is None or text
