"""How large the parts of an upload are: S3 takes 10,000 of them, 5 MiB to 5 GiB each.

Large parts are cheap (each costs ~3 ms of CPU whatever its size) and small ones keep memory low.
So parts are large where the byte budget has room when the upload begins; for an unknown length also
beside all that the parts being filled may take yet. A part holds only what has arrived of it, so
that costs a short body of unknown length nothing, and makes it one PutObject. A known length gets
parts of one size, few enough; parts of an unknown one grow fourfold every thousand, until 10,000 of
them hold 5 TiB. No part is larger than the byte budget, since a part is held until it is stored:
with the default of 256 MiB that allows 2.4 TiB of known and 1.8 TiB of unknown length.
"""

from __future__ import annotations

from service.settings import MAX_PARTS, MIB, TIB, Uploads

_STEP_PARTS = 1_000
_GROWTH = 4
_LARGEST_STEP_BYTES = 768 * MIB
assert 7 * _STEP_PARTS * _LARGEST_STEP_BYTES > 5 * TIB


def largest_object_bytes(declared: bool, uploads: Uploads, budget_bytes: int) -> int:
    """How much 10,000 parts can hold under this budget."""
    if declared:
        return MAX_PARTS * budget_bytes
    return sum(
        _STEP_PARTS * unknown_part_bytes(step * _STEP_PARTS + 1, uploads, budget_bytes)
        for step in range(MAX_PARTS // _STEP_PARTS)
    )


def known_part_bytes(size_bytes: int, uploads: Uploads, *, budget_bytes: int, roomy: bool) -> int:
    """The size of every part of a known length. roomy: the budget is not under pressure."""
    least = -(-size_bytes // MAX_PARTS)
    return min(budget_bytes, max(_first(uploads, roomy=roomy), -(-least // MIB) * MIB))


def unknown_part_bytes(
    number: int, uploads: Uploads, budget_bytes: int, *, roomy: bool = False
) -> int:
    """The size of part `number` (from 1) where nobody said how much will come."""
    first = _first(uploads, roomy=roomy)
    grown = first * _GROWTH ** min((number - 1) // _STEP_PARTS, 10)
    return int(min(budget_bytes, max(first, min(grown, _LARGEST_STEP_BYTES))))


def _first(uploads: Uploads, *, roomy: bool) -> int:
    return uploads.large_part_bytes if roomy else uploads.part_bytes
