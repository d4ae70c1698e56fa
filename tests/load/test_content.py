"""The bytes of the load tests: the same each time, and wrong ones are found."""

from __future__ import annotations

import pytest

from tests.load.content import CHUNK_BYTES, PERIOD, Known, difference, parse_size, pieces


def content(name: str, start: int, end: int) -> bytes:
    return b"".join(pieces(name, start, end))


def test_a_part_is_the_part_of_the_whole():
    whole = content("a", 0, PERIOD + 100_000)
    assert len(whole) == PERIOD + 100_000
    for start, end in ((0, 1), (17, 4_000_000), (PERIOD - 3, PERIOD + 3), (PERIOD, len(whole))):
        assert content("a", start, end) == whole[start:end]
        assert difference("a", start, whole[start:end]) is None


def test_a_body_tells_its_length_and_can_be_read_again():
    body = Known("a", 1_000_003)
    assert len(body) == sum(map(len, body)) == sum(map(len, body))
    assert b"".join(body) == content("a", 0, 1_000_003)


@pytest.mark.parametrize("at", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 999_999])
def test_a_wrong_byte_is_found_where_it_is(at: int):
    data = bytearray(content("a", 7, 1_000_007))
    data[at] ^= 1
    assert difference("a", 7, bytes(data)) == 7 + at


def test_other_objects_and_other_places_are_not_right():
    data = content("a", 0, 5000)
    assert difference("b", 0, data) is not None
    for shift in (1, 4096, 5 << 20, 8 << 20, 32 << 20):
        assert difference("a", shift, data) is not None


def test_sizes_are_written_as_people_do():
    assert [parse_size(text) for text in ("0", "4096", "64KiB", "16 MiB", "1GiB")] == [
        0,
        4096,
        1 << 16,
        1 << 24,
        1 << 30,
    ]
    for wrong in ("", "1MB", "-1", "1.5GiB", "MiB"):
        with pytest.raises(ValueError):
            parse_size(wrong)
