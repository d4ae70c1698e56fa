"""List: the latest versions of a bucket by key, with what a delimiter cuts off as common prefixes.

A common prefix is emitted once and the scan goes on behind it (`successor`), so a folder costs one
seek and not all of its objects. The cursor names a place between keys, never an entry: objects may
come and go, what stays is met exactly once in a walk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import BucketNotFound, Invalid
from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.model.page import ListQuery, Page
from service.model.version import Version
from service.protocol.cursors import decode_cursor, encode_cursor
from service.protocol.prefixes import successor
from service.usecases.runtime import Runtime

MAX_LIMIT = 1000
MAX_EXAMINED = 10_000
"""Entries that one page looks at; past it the page is short and `next` goes on."""
_LARGEST_SCAN, _SMALLEST_SCAN = 1000, 2
_SEEK_COST = 25
"""A query of its own costs about as much as so many more entries of the one before."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to go on: at `start`, or right behind it."""

    start: str = ""
    inclusive: bool = True


@dataclass(slots=True)
class _Walk:
    """What a page has gathered. place: None once nothing can follow."""

    query: ListQuery
    place: _Place | None
    items: list[Version] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)

    @property
    def room(self) -> int:
        return self.query.limit - len(self.items) - len(self.prefixes)

    def take(self, versions: list[Version]) -> int:
        """Add entries while there is room; returns how many versions were passed."""
        for number, version in enumerate(versions):
            if self._is_behind(version.key):
                continue
            if not self.room or self.place is None:
                return number
            common = _common_prefix(version.key, self.query)
            if common is None:
                self.items.append(version)
                self.place = _Place(version.key, inclusive=False)
            else:
                self.prefixes.append(common)
                above = successor(common)
                self.place = None if above is None else _Place(above)
        return len(versions)

    def _is_behind(self, key: str) -> bool:
        """Whether the place has gone past this key already: it lies under the last prefix."""
        if self.place is None:
            return True
        start = self.place.start
        return key < start or (key == start and not self.place.inclusive)


async def list_objects(runtime: Runtime, tenant: TenantId, bucket: str, query: ListQuery) -> Page:
    """Raises BucketNotFound, InvalidCursor, Invalid (limit)."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise Invalid(f"limit must be a number from 1 to {MAX_LIMIT}", field="limit")
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    scope = (found.id, query.prefix, query.delimiter or "")
    walk = _Walk(query, _place_of(query.cursor, scope))
    await _fill(runtime, found, walk)
    return Page(tuple(walk.items), tuple(walk.prefixes), _cursor_of(walk.place, scope))


async def _fill(runtime: Runtime, bucket: Bucket, walk: _Walk) -> None:
    """Scan until the page is full, the bucket ends or enough was looked at."""
    examined, ask = 0, min(walk.room + 1, _LARGEST_SCAN)
    if walk.query.delimiter:
        # One scan may pass many small folders; how large they are shows soon.
        ask = min(10 * ask, _LARGEST_SCAN)
    while walk.place is not None and walk.room and examined < MAX_EXAMINED:
        ask = min(ask, MAX_EXAMINED - examined)
        versions = await runtime.metadata.versions.scan(
            bucket.tenant,
            bucket.id,
            prefix=walk.query.prefix,
            start=walk.place.start,
            inclusive=walk.place.inclusive,
            limit=ask,
        )
        examined += len(versions)
        room_before = walk.room
        passed = walk.take(versions)
        if passed == len(versions) < ask:
            walk.place = None
        # Large folders: seek from one to the next. Otherwise read on.
        taken = room_before - walk.room
        lone = taken <= 1 or passed > _SEEK_COST * taken
        ask = _SMALLEST_SCAN if lone else min(ask * 2, _LARGEST_SCAN)


def _common_prefix(key: str, query: ListQuery) -> str | None:
    """What the key has up to the first delimiter behind the query's prefix, delimiter included."""
    if not query.delimiter:
        return None
    at = key.find(query.delimiter, len(query.prefix))
    return None if at < 0 else key[: at + len(query.delimiter)]


def _place_of(cursor: str | None, scope: tuple[str, ...]) -> _Place:
    if cursor is None:
        return _Place()
    start, inclusive = decode_cursor(cursor, scope, length=2)
    return _Place(start, inclusive=inclusive == "at")


def _cursor_of(place: _Place | None, scope: tuple[str, ...]) -> str | None:
    if place is None:
        return None
    return encode_cursor((place.start, "at" if place.inclusive else "behind"), scope)
