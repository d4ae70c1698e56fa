"""Search: the objects of a bucket that fulfil some conditions, in a chosen order, by pages.

A page costs no more than `MAX_EXAMINED` entries looked at (`stores/search_plan.py`); past that it
is short and `next` goes on. The cursor names a place in the order, never an entry, and belongs to
the very query that it came from.
"""

from __future__ import annotations

from service.errors import BucketNotFound, Invalid, InvalidCursor
from service.model.ids import TenantId
from service.model.page import Page
from service.model.search import Position, SearchQuery
from service.protocol.cursors import decode_cursor, encode_cursor
from service.usecases.list_objects import MAX_EXAMINED, MAX_LIMIT
from service.usecases.runtime import Runtime


async def search_objects(
    runtime: Runtime, tenant: TenantId, bucket: str, query: SearchQuery
) -> Page:
    """Raises BucketNotFound, InvalidCursor, Invalid (limit)."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise Invalid(f"limit must be a number from 1 to {MAX_LIMIT}", field="limit")
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    scope = (found.id, "search", repr(query.wanted), repr(query.sort))
    step = await runtime.metadata.versions.search(
        tenant,
        found.id,
        query.wanted,
        query.sort,
        after=_place_of(query.cursor, scope),
        limit=query.limit,
        max_examined=MAX_EXAMINED,
    )
    return Page(step.versions, (), _cursor_of(step.resume, scope))


def _place_of(cursor: str | None, scope: tuple[str, ...]) -> Position | None:
    if cursor is None:
        return None
    number, key = decode_cursor(cursor, scope, length=2)
    if not (number.isascii() and number.isdigit() and len(number) <= 19):
        raise InvalidCursor
    return Position(int(number), key)


def _cursor_of(place: Position | None, scope: tuple[str, ...]) -> str | None:
    if place is None:
        return None
    return encode_cursor((str(place.number), place.key), scope)
