import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings import MAX_PARTS, MIB, MIN_PART_BYTES, TIB, Uploads
from service.usecases.part_plan import (
    known_part_bytes,
    largest_object_bytes,
    unknown_part_bytes,
)

UPLOADS = Uploads()


@given(st.integers(0, 5 * TIB), st.booleans())
def test_known_length_fits_into_ten_thousand_parts(size_bytes: int, roomy: bool) -> None:
    part = known_part_bytes(size_bytes, UPLOADS, budget_bytes=1024 * MIB, roomy=roomy)
    assert part >= MIN_PART_BYTES
    assert part * MAX_PARTS >= size_bytes


@pytest.mark.parametrize(
    ("roomy", "first"), [(False, UPLOADS.part_bytes), (True, UPLOADS.large_part_bytes)]
)
def test_unknown_length_holds_five_tebibytes_where_the_budget_allows(
    roomy: bool, first: int
) -> None:
    largest = largest_object_bytes(False, UPLOADS, 1024 * MIB)
    numbers = range(1, MAX_PARTS + 1)
    sizes = [unknown_part_bytes(n, UPLOADS, 1024 * MIB, roomy=roomy) for n in numbers]
    assert sizes == sorted(sizes)
    assert sizes[0] == first
    assert sum(sizes) >= largest >= 5 * TIB


def test_no_part_is_larger_than_the_budget() -> None:
    assert unknown_part_bytes(10_000, UPLOADS, 256 * MIB) == 256 * MIB
    assert known_part_bytes(5 * TIB, UPLOADS, budget_bytes=256 * MIB, roomy=True) == 256 * MIB
    assert largest_object_bytes(True, UPLOADS, 256 * MIB) == 10_000 * 256 * MIB
