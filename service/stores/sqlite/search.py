"""Searches over the index of versions: what `search_plan` asks for, as queries.

A query reads by one index: that of the order it goes along, or of its drive. `CROSS JOIN` and the
unary plus tell SQLite so: it joins in the order written, and a column under a plus uses no index.
The other conditions are looked up entry by entry, behind a LIMIT where work is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.model.ids import BucketId, TenantId
from service.model.search import Order, Position, Sort, Term, Wanted
from service.model.version import Version
from service.protocol.prefixes import successor
from service.protocol.terms import WORD
from service.stores.search_plan import Drive, Stretch, drives_of
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.rows import version_out

COLUMNS = {Order.KEY: "key", Order.CREATED: "created_ms", Order.SIZE: "size_bytes"}
_TERM_INDEXES = {
    Order.KEY: "terms_by_key",
    Order.CREATED: "terms_by_created",
    Order.SIZE: "terms_by_size",
}
_INDEXES = {
    Order.KEY: "versions_listing",
    Order.CREATED: "versions_created",
    Order.SIZE: "versions_size",
}
_NO_BOUND = -1
"""As a LIMIT: none."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement with what is bound in it."""

    text: str
    values: tuple[Any, ...] = ()


def _all_of(pieces: Sequence[Sql]) -> Sql:
    text = " AND ".join(piece.text for piece in pieces) or "1"
    return Sql(text, tuple(value for piece in pieces for value in piece.values))


@dataclass(frozen=True, slots=True)
class SqliteReader:
    """`search_plan.Reader` of one search."""

    engine: Engine
    tenant: TenantId
    bucket: BucketId
    wanted: Wanted
    sort: Sort

    term_orders = frozenset(Order)

    async def count(self, drive: Drive, up_to: int) -> int:
        source = self._source(drive, f"SELECT 1 FROM {self._table(drive)}")
        text = f"SELECT count(*) AS entries FROM ({source.text} LIMIT ?)"
        (row,) = await self._ask(Sql(text, (*source.values, up_to)))
        return int(row["entries"])

    async def gather(self, drive: Drive, after: Position | None, limit: int) -> list[Version]:
        # Several words of one object may start so.
        which = "DISTINCT t.no" if isinstance(drive, Term) else "t.no"
        source = self._source(drive, f"SELECT {which} AS no FROM {self._table(drive)}")
        fits = _all_of([*self._between("v", Stretch(after)), *self._others(drive, "v")])
        text = (
            f"SELECT v.* FROM ({source.text}) d CROSS JOIN versions v ON v.no = d.no"
            f" WHERE {fits.text} ORDER BY {self._order('v')} LIMIT ?"
        )
        return await self._versions(Sql(text, (*source.values, *fits.values, limit)))

    async def walk(
        self, along: Term | None, stretch: Stretch, limit: int, examine: int | None
    ) -> list[Version]:
        way = self._way(along, stretch, "t.no")
        bound = _NO_BOUND if examine is None else examine
        fits = _all_of(self._others(along, "v"))
        # The inner query is the outer loop: its order is that of the answer.
        text = (
            f"SELECT v.* FROM ({way.text} LIMIT ?) d CROSS JOIN versions v ON v.no = d.no"
            f" WHERE {fits.text} LIMIT ?"
        )
        return await self._versions(Sql(text, (*way.values, bound, *fits.values, limit)))

    async def place(
        self, along: Term | None, after: Position | None, number: int
    ) -> Position | None:
        column = COLUMNS[self.sort.order]
        way = self._way(along, Stretch(after), f"t.{column} AS number, t.key AS key")
        found = await self._ask(Sql(f"{way.text} LIMIT 1 OFFSET ?", (*way.values, number - 1)))
        if not found:
            return None
        by_key = self.sort.order is Order.KEY
        return Position(0 if by_key else int(found[0]["number"]), found[0]["key"])

    def _way(self, along: Term | None, stretch: Stretch, columns: str) -> Sql:
        """All that the order names in the stretch, or what has the term there, in order."""
        order = self.sort.order
        if along is None:
            table = f"versions t INDEXED BY {_INDEXES[order]}"
            conditions = [self._scope()]
        else:
            table = f"terms t INDEXED BY {_TERM_INDEXES[order]}"
            conditions = [self._within(1), _has(along, "t")]
        where = _all_of([*conditions, *self._between("t", stretch)])
        text = f"SELECT {columns} FROM {table} WHERE {where.text} ORDER BY {self._order('t')}"
        return Sql(text, where.values)

    def _table(self, drive: Drive) -> str:
        if isinstance(drive, Term):
            return f"terms t INDEXED BY {'terms_words' if _is_word(drive) else 'terms_by_key'}"
        return f"versions t INDEXED BY {_INDEXES[drive]}"

    def _source(self, drive: Drive, select: str) -> Sql:
        """All that the drive names; a whole term within the wanted prefix."""
        if isinstance(drive, Order):
            where = _all_of([self._scope(), *self._span(drive, "t")])
        else:
            whole = not _is_word(drive)
            within = self._span(Order.KEY, "t") if whole else []
            where = _all_of([self._within(int(whole)), _has(drive, "t"), *within])
        return Sql(f"{select} WHERE {where.text}", where.values)

    def _scope(self) -> Sql:
        """Current objects of the bucket, if that is the tenant's."""
        own = "EXISTS (SELECT 1 FROM buckets b WHERE b.id = ? AND b.tenant = ?)"
        text = f"t.latest = 1 AND t.kind = 'object' AND t.bucket_id = ? AND {own}"
        return Sql(text, (self.bucket, self.bucket, self.tenant))

    def _within(self, whole: int) -> Sql:
        """Terms of them."""
        number = (
            "SELECT n.no FROM bucket_numbers n JOIN buckets b ON b.id = n.bucket_id"
            " WHERE n.bucket_id = ? AND b.tenant = ?"
        )
        return Sql(f"t.whole = {whole} AND t.bucket_no = ({number})", (self.bucket, self.tenant))

    def _others(self, drive: Drive | None, table: str) -> list[Sql]:
        """All conditions but the drive and the range of the order."""
        found: list[Sql] = []
        for each in drives_of(self.wanted, self.sort.order):
            if each == drive:
                continue
            if isinstance(each, Order):
                found += self._span(each, f"+{table}")
            else:
                has = _has(each, "o")
                text = f"EXISTS (SELECT 1 FROM terms o WHERE o.no = {table}.no AND {has.text})"
                found.append(Sql(text, has.values))
        return found

    def _span(self, order: Order, table: str) -> list[Sql]:
        """What the search wants of an order's number or key."""
        low, high = self._bounds(order)
        column = f"{table}.{COLUMNS[order]}"
        bounds = [Sql(f"{column} >= ?", (low,))]
        return bounds if high is None else [*bounds, Sql(f"{column} < ?", (high,))]

    def _bounds(self, order: Order) -> tuple[Any, Any]:
        """Half-open; None where there is no upper one."""
        wanted = self.wanted
        match order:
            case Order.KEY:
                return wanted.prefix, successor(wanted.prefix)
            case Order.CREATED:
                return wanted.since_ms, wanted.until_ms
            case Order.SIZE:
                return wanted.size_from, wanted.size_until

    def _between(self, table: str, stretch: Stretch) -> list[Sql]:
        """The part of the order's span that lies in the stretch, as one bound on either side: of
        two, SQLite might begin to read at the wrong one."""
        order = self.sort.order
        low, high = self._bounds(order)
        lower, *upper = self._span(order, table)
        behind, last = ("<", ">=") if self.sort.descending else (">", "<=")
        for place, operator in ((stretch.after, behind), (stretch.end, last)):
            if place is None:
                continue
            at = place.key if order is Order.KEY else place.number
            if operator.startswith(">") and at >= low:
                lower = self._beyond(place, operator, table)
            elif operator.startswith("<") and (high is None or at < high):
                upper = [self._beyond(place, operator, table)]
        return [lower, *upper]

    def _beyond(self, place: Position, operator: str, table: str) -> Sql:
        if self.sort.order is Order.KEY:
            return Sql(f"{table}.key {operator} ?", (place.key,))
        pair = f"({table}.{COLUMNS[self.sort.order]}, {table}.key)"
        return Sql(f"{pair} {operator} (?, ?)", (place.number, place.key))

    def _order(self, table: str) -> str:
        way = " DESC" if self.sort.descending else ""
        columns = dict.fromkeys((COLUMNS[self.sort.order], "key"))
        return ", ".join(f"{table}.{column}{way}" for column in columns)

    async def _versions(self, query: Sql) -> list[Version]:
        def work(db: Db) -> list[Version]:
            return [version_out(row) for row in db.execute(query.text, query.values)]

        return await self.engine.read(work)

    async def _ask(self, query: Sql) -> list[Any]:
        return await self.engine.read(lambda db: db.execute(query.text, query.values).fetchall())


def _is_word(term: Term) -> bool:
    return term.text.startswith(WORD)


def _has(term: Term, table: str) -> Sql:
    """Of a row of `terms`: it is the term, or starts so."""
    if term.whole:
        return Sql(f"{table}.term = ?", (term.text,))
    end = successor(term.text)
    starts = Sql(f"{table}.term >= ?", (term.text,))
    return starts if end is None else _all_of([starts, Sql(f"{table}.term < ?", (end,))])
