"""The history of a key: its versions and delete markers that count, the youngest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import BucketNotFound, InvalidCursor
from service.model.ids import TenantId
from service.model.version import Entry
from service.protocol.cursors import decode_cursor, encode_cursor
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """next_cursor: None once nothing older can follow."""

    entries: Sequence[Entry]
    next_cursor: str | None


async def list_versions(
    runtime: Runtime, tenant: TenantId, bucket: str, key: str, *, limit: int, cursor: str | None
) -> HistoryPage:
    """A page of `limit` entries; empty where the key never named anything, or nothing was kept.

    What is made between two pages is in none of them. Raises BucketNotFound, InvalidCursor.
    """
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    scope = ("versions", found.id, key)
    entries = await runtime.metadata.versions.history(
        tenant, found.id, key, before_seq=_place_of(cursor, scope), limit=limit + 1
    )
    page = entries[:limit]
    more = len(entries) > limit
    return HistoryPage(page, encode_cursor((str(page[-1].seq),), scope) if more else None)


def _place_of(cursor: str | None, scope: tuple[str, ...]) -> int | None:
    if cursor is None:
        return None
    (seq,) = decode_cursor(cursor, scope, length=1)
    if not (seq.isascii() and seq.isdigit()):
        raise InvalidCursor("the cursor belongs to another kind of listing")
    return int(seq)
