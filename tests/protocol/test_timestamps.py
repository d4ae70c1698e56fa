"""Times as whole milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from service.protocol.timestamps import milliseconds, milliseconds_from

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS = st.integers(0, 1 << 42)


@given(MILLISECONDS, st.integers(0, 999))
def test_what_is_past_a_millisecond_is_cut_off(ms: int, us: int):
    assert milliseconds(EPOCH + timedelta(milliseconds=ms, microseconds=us)) == ms


@given(MILLISECONDS, st.integers(0, 3_000))
def test_whole_milliseconds_from_a_moment_on_are_those_from_its_bound_on(ms: int, us: int):
    at = EPOCH + timedelta(milliseconds=ms)
    moment = EPOCH + timedelta(milliseconds=ms - 1, microseconds=us)
    assert (at >= moment) == (ms >= milliseconds_from(moment))


def test_offsets_are_heeded_and_the_time_before_1970_is_its_beginning():
    east = timezone(timedelta(hours=2))
    assert milliseconds_from(datetime(1970, 1, 1, 3, tzinfo=east)) == 3_600_000
    assert milliseconds_from(datetime(1, 1, 1, tzinfo=east)) == 0
