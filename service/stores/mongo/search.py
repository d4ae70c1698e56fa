"""Searches over the index of versions: what `search_plan` asks for, as aggregations.

A pipeline reads by one index, in a first stage that names nothing but the drive; the other
conditions come behind a `$limit`. A term that starts so is `$elemMatch`: bounds of a list's
elements hold together in there only, `{$gte, $lt}` alone may be fulfilled by two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.model.ids import BucketId, TenantId
from service.model.search import Order, Position, Sort, Term, Wanted
from service.model.version import Version
from service.protocol.prefixes import successor
from service.stores.mongo.documents import version_out
from service.stores.mongo.driver import Collection, Document
from service.stores.mongo.errors import Guard
from service.stores.mongo.search_indexes import CREATED, SIZE, TERMS
from service.stores.mongo.searchable import number_text, place_text
from service.stores.search_plan import Drive, Stretch, drives_of

NO_BOUND = 2**31 - 1
"""A `$limit` that cuts nothing off and still parts the stages: no server moves a condition over
it, so what the first stage reads is the drive's and nobody else's choice."""
SLIM = {"$project": {"search": False}}
_FIELDS = {Order.KEY: "key", Order.CREATED: CREATED, Order.SIZE: SIZE}


@dataclass(frozen=True, slots=True)
class MongoReader:
    """`search_plan.Reader` of one search."""

    versions: Collection
    guard: Guard
    tenant: TenantId
    bucket: BucketId
    wanted: Wanted
    sort: Sort

    term_orders = frozenset({Order.KEY})

    async def count(self, drive: Drive, up_to: int) -> int:
        stages: list[Document] = [{"$limit": up_to}, {"$count": "entries"}]
        counted = await self._aggregate(self._driven_by(drive), stages)
        return int(counted[0]["entries"]) if counted else 0

    async def gather(self, drive: Drive, after: Position | None, limit: int) -> list[Version]:
        behind = {self._field: self._range(Stretch(after))}
        stages: list[Document] = [
            {"$limit": NO_BOUND},
            {"$match": {"$and": [behind, *self._others(drive)]}},
            {"$sort": self._order},
            {"$limit": limit},
            SLIM,
        ]
        found = await self._aggregate(self._driven_by(drive), stages)
        return [version_out(document) for document in found]

    async def walk(
        self, along: Term | None, stretch: Stretch, limit: int, examine: int | None
    ) -> list[Version]:
        others = self._others(along)
        stages: list[Document] = [{"$sort": self._order}]
        if others:
            stages += [{"$limit": examine or NO_BOUND}, {"$match": {"$and": others}}]
        stages += [{"$limit": limit}, SLIM]
        found = await self._aggregate(self._in_order(along, stretch), stages)
        return [version_out(document) for document in found]

    async def place(
        self, along: Term | None, after: Position | None, number: int
    ) -> Position | None:
        with self.guard.reading():
            entry = await self.versions.find_one(
                self._in_order(along, Stretch(after)),
                {"_id": False, self._field: True, "key": True},
                sort=list(self._order.items()),
                skip=number - 1,
            )
        if entry is None:
            return None
        text = entry["key"]
        if self.sort.order is Order.KEY:
            return Position(0, text)
        leaf = self._field.partition(".")[2]
        return Position(int(entry["search"][leaf].removesuffix(text), 16), text)

    @property
    def _field(self) -> str:
        return _FIELDS[self.sort.order]

    @property
    def _order(self) -> dict[str, int]:
        return {self._field: -1 if self.sort.descending else 1}

    @property
    def _scope(self) -> Document:
        return {
            "tenant": self.tenant,
            "bucket_id": self.bucket,
            "kind": "object",
            "latest": True,
        }

    def _driven_by(self, drive: Drive) -> Document:
        """The filter of all that the drive names; a whole term within the wanted prefix."""
        if isinstance(drive, Order):
            return self._scope | {_FIELDS[drive]: self._span(drive)}
        within = {_FIELDS[Order.KEY]: self._span(Order.KEY)} if drive.whole else {}
        return self._scope | _has(drive) | within

    def _in_order(self, along: Term | None, stretch: Stretch) -> Document:
        term = _has(along) if along else {}
        return self._scope | term | {self._field: self._range(stretch)}

    def _others(self, drive: Drive | None) -> list[Document]:
        """All conditions but the drive and the range of the order."""
        return [
            _has(each) if isinstance(each, Term) else {_FIELDS[each]: self._span(each)}
            for each in drives_of(self.wanted, self.sort.order)
            if each != drive
        ]

    def _span(self, order: Order) -> dict[str, str]:
        """What the search wants of an order's field, as a range of it."""
        low, high = self._bounds(order)
        return {"$gte": low} if high is None else {"$gte": low, "$lt": high}

    def _bounds(self, order: Order) -> tuple[str, str | None]:
        wanted = self.wanted
        match order:
            case Order.KEY:
                return wanted.prefix, successor(wanted.prefix)
            case Order.CREATED:
                low, high = wanted.since_ms, wanted.until_ms
            case Order.SIZE:
                low, high = wanted.size_from, wanted.size_until
        return number_text(low), None if high is None else number_text(high)

    def _range(self, stretch: Stretch) -> dict[str, str]:
        """The part of the order's span that lies in the stretch."""
        order = self.sort.order
        low, high = self._bounds(order)
        bounds = self._span(order)
        behind, last = ("$lt", "$gte") if self.sort.descending else ("$gt", "$lte")
        for place, operator in ((stretch.after, behind), (stretch.end, last)):
            if place is None:
                continue
            text = place_text(place, order)
            if operator in ("$gt", "$gte") and text >= low:
                del bounds["$gte"]
                bounds[operator] = text
            elif operator in ("$lt", "$lte") and (high is None or text < high):
                bounds.pop("$lt", None)
                bounds[operator] = text
        return bounds

    async def _aggregate(self, first: Document, stages: list[Document]) -> list[Document]:
        pipeline: list[dict[str, Any]] = [{"$match": first}, *stages]
        with self.guard.reading():
            return await self.versions.aggregate(pipeline).to_list(None)


def _has(term: Term) -> Document:
    if term.whole:
        return {TERMS: term.text}
    starts: dict[str, str] = {"$gte": term.text}
    end = successor(term.text)
    if end is not None:
        starts["$lt"] = end
    return {TERMS: {"$elemMatch": starts}}
