"""How pieces become the parts of one multipart: every byte once, in order, in sizes S3 takes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from service.model.ids import BlobKey
from service.model.resumable import Piece
from service.settings import GIB, MAX_PARTS, MIB, TIB
from service.usecases.resumable.join import Slice, plan_parts

LEAST = 5 * MIB
SIZES = st.one_of(
    st.integers(0, 3 * LEAST), st.sampled_from([LEAST - 1, LEAST, LEAST + 1]), st.integers(0, TIB)
)


def planned(sizes: list[int], part_bytes: int) -> list[tuple[Slice, ...]]:
    pieces = [Piece(BlobKey(f"{n}"), size, bytes(8)) for n, size in enumerate(sizes)]
    return list(plan_parts(pieces, least_bytes=LEAST, part_bytes=part_bytes))


@given(st.lists(SIZES, max_size=6), st.sampled_from([LEAST, 64 * MIB, 5 * GIB]))
@example([5 * TIB], LEAST)
@example([5 * TIB], 64 * MIB)
@example([1] * 1000, LEAST)
def test_parts_hold_every_byte_once_in_order(sizes: list[int], part_bytes: int):
    parts = planned(sizes, part_bytes)
    found = [[0, 0] for _ in sizes]
    place = (0, 0)
    for part in parts:
        for each in part:
            number = int(each.blob_key)
            assert place <= (number, each.start)
            assert each.start == found[number][1] < each.end
            found[number][1] = each.end
            place = (number, each.end)
    assert [end for _, end in found] == sizes
    lengths = [sum(each.size_bytes for each in part) for part in parts]
    assert all(length >= LEAST for length in lengths[:-1])
    assert all(length <= 5 * GIB for length in lengths)
    assert len(parts) <= MAX_PARTS


@given(st.lists(SIZES, max_size=6))
def test_only_short_pieces_and_what_completes_them_are_read(sizes: list[int]):
    """Everything else the store copies."""
    read = sum(
        sum(each.size_bytes for each in part) for part in planned(sizes, 64 * MIB) if len(part) > 1
    )
    assert read <= 2 * LEAST * len(sizes)
