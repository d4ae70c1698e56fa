"""What a reader fetches beyond what it is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from service.client.filesystem.read_ahead import GrowingReadAhead

KIB = 1 << 10


class Source:
    def __init__(self, size, block=1024 * KIB):
        self.data = bytes(n % 251 for n in range(size))
        self.fetched = []
        self.cache = GrowingReadAhead(block, self.fetch, size)

    def fetch(self, start, end):
        self.fetched.append((start, end))
        return self.data[start:end]

    def read(self, start, end):
        return self.cache._fetch(start, end)


def test_a_read_elsewhere_brings_little_more():
    source = Source(4096 * KIB)
    source.read(2048 * KIB, 2049 * KIB)
    source.read(100, 200)
    assert source.fetched == [(2048 * KIB, 2113 * KIB), (100, 64 * KIB + 200)]


def test_reads_in_a_row_bring_more_each_time_up_to_a_block():
    source = Source(8192 * KIB)
    for start in range(0, 8192, 16):
        source.read(start * KIB, (start + 16) * KIB)
    lengths = [(end - start) // KIB for start, end in source.fetched]
    assert lengths[:6] == [80, 144, 272, 528, 1040, 1040]
    assert len(lengths) < 13


@given(st.integers(1, 5000), st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 900))))
def test_it_gives_what_is_there_and_nothing_twice_in_a_row(size, reads):
    source = Source(size, block=300)
    for start, length in reads:
        assert source.read(start, start + length) == source.data[start : start + length]
    assert all(end > start for start, end in source.fetched)


def test_a_large_read_is_not_kept():
    source = Source(4096 * KIB, block=128 * KIB)
    assert source.read(0, 2048 * KIB) == source.data[: 2048 * KIB]
    assert len(source.cache._cached) == 64 * KIB
    source.read(2048 * KIB, 2050 * KIB)
    assert source.fetched == [(0, 2112 * KIB)]
