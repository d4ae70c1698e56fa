from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RangeNotSatisfiable
from service.protocol.byte_ranges import (
    ByteRange,
    coalesce,
    content_range,
    frame,
    parse_range,
    unsatisfied_range,
)


def spans(field, size_bytes=10):
    found = parse_range(field, size_bytes)
    return None if found is None else [(item.start, item.end) for item in found]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-5", [(2, 6)]),
        ("bytes=2-", [(2, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=5-500", [(5, 10)]),
        ("BYTES=5-5", [(5, 6)]),
        ("bytes=007-0008", [(7, 9)]),
        ("bytes=0-1, 4-5", [(0, 2), (4, 6)]),
        ("bytes=4-5,0-1", [(4, 6), (0, 2)]),
        ("bytes=, 0-1 ,\t,4-5,", [(0, 2), (4, 6)]),
        ("bytes=0-4,2-6", [(0, 7)]),
        ("bytes=0-1,2-3", [(0, 4)]),
        ("bytes=8-9,0-1,1-2", [(8, 10), (0, 3)]),
        ("bytes=0-1,50-60", [(0, 2)]),
        ("bytes=-0,3-3", [(3, 4)]),
        ("bytes=0-" + "9" * 50, [(0, 10)]),
        ("bytes=-" + "9" * 50, [(0, 10)]),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(field, expected):
    assert spans(field) == expected


@pytest.mark.parametrize(
    "field",
    [None, "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1-2-3",
     "bytes=0-1;2-3", "items=0-1", "bytes =0-1", "bytes= 0 - 1", "bytes=٠-١", "bytes=0-١",
     "bytes=+1-2", "bytes=0x0-1", "bytes=1_0-2", "bytes=0-1,x", "bytes=0-1,5-2", "bytes=0--1",
     "bytes=--1",
     "bytes=" + "9" * 5000 + "-", "bytes=0-1\n"],
)  # fmt: skip
def test_malformed_ranges_are_ignored(field):
    assert spans(field) is None


@pytest.mark.parametrize("field", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,10-"])
def test_ranges_past_the_end_are_unsatisfiable(field):
    with pytest.raises(RangeNotSatisfiable) as caught:
        spans(field)
    assert caught.value.extras == {"size_bytes": 10}


def test_an_empty_object_has_no_range_but_a_suffix_is_all_of_it():
    for field in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(RangeNotSatisfiable):
            spans(field, 0)
    assert spans("bytes=-5", 0) is None


def test_a_hundred_ranges_are_served_and_more_are_ignored():
    hundred = ",".join(f"{2 * n}-{2 * n}" for n in range(100))
    assert len(spans("bytes=" + hundred, 1000)) == 100
    assert spans(f"bytes={hundred},500-500", 1000) is None


def test_content_range_is_inclusive():
    assert content_range(ByteRange(0, 5), 10) == "bytes 0-4/10"
    assert unsatisfied_range(10) == "bytes */10"


RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda p: ByteRange(p[0], p[0] + p[1])),
    min_size=1,
    max_size=20,
)


@given(RANGES)
def test_coalescing_keeps_exactly_the_bytes_and_leaves_gaps_between(ranges):
    joined = coalesce(ranges)
    assert {n for r in joined for n in range(r.start, r.end)} == {
        n for r in ranges for n in range(r.start, r.end)
    }
    ordered = sorted(joined)
    assert all(a.end < b.start for a, b in pairwise(ordered))
    firsts = [next(i for i, r in enumerate(ranges) if j.start <= r.start < j.end) for j in joined]
    assert firsts == sorted(firsts)


@given(st.text(max_size=60) | st.text("bytes=0123456789-, ", max_size=60), st.integers(0, 1 << 45))
def test_whatever_comes_gives_ranges_inside_the_object(text, size_bytes):
    for field in (text, "bytes=" + text):
        try:
            found = parse_range(field, size_bytes)
        except RangeNotSatisfiable:
            continue
        for item in found or ():
            assert 0 <= item.start < item.end <= size_bytes


@given(st.binary(min_size=1, max_size=200), RANGES)
def test_the_framing_knows_its_length_and_holds_every_range(content, ranges):
    ranges = [r for r in coalesce(ranges) if r.end <= len(content)]
    framing = frame(ranges, len(content), "text/plain", "b0undary")
    body = b"".join(
        head + content[item.start : item.end]
        for head, item in zip(framing.heads, ranges, strict=True)
    )
    body += framing.tail
    assert len(body) == framing.content_length
    assert body.endswith(b"\r\n--b0undary--\r\n")
    assert framing.content_type == "multipart/byteranges; boundary=b0undary"


def test_the_framing_looks_like_the_example_of_rfc_9110():
    framing = frame([ByteRange(500, 1000), ByteRange(7000, 8000)], 8000, "application/pdf", "THIS")
    assert framing.heads == (
        b"--THIS\r\nContent-Type: application/pdf\r\nContent-Range: bytes 500-999/8000\r\n\r\n",
        b"\r\n--THIS\r\nContent-Type: application/pdf\r\n"
        b"Content-Range: bytes 7000-7999/8000\r\n\r\n",
    )
    assert framing.tail == b"\r\n--THIS--\r\n"
