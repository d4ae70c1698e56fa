"""How a search is answered with bounded work, whatever the engine.

The conditions of a search are ANDed, and one of them, or the order of the answer, decides what is
read: the *drive*. What it reads is filtered by all the others. Two ways:

gather      everything that the drive names, filtered, the first `limit` in the order. Its cost is
            the number of entries that the drive names, on every page. For rare drives.
walk        from the place on in the order, filtered, until the page is full. Its cost is the page
            divided by the share of entries that fit. For what is common.

An engine may keep the entries of a term that an object has as a whole in the order of keys, or in
others too; then a walk in such an order may go along the term rather than through all there is.
Which way costs less is found out by counts and trials that are bounded themselves: the drives are
counted up to a tenth of the budget, and a tenth is walked in the hope of a full page (and on, where
that was nearly so), before anything is read on a larger scale. No page looks at more than
`max_examined` entries; where these did not fill it, the search resumes behind the last of them.
That place is fixed before what lies in front of it is read, so what changes meanwhile is neither
met twice nor missed if it stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.model.search import Found, Order, Position, Sort, Term, Wanted
from service.model.version import Version
from service.protocol.timestamps import milliseconds

Drive = Term | Order
"""A condition that an index serves: a term, or the range that is wanted of a number or the key."""
MOST_COUNTED = 8
"""Drives that a page counts: more conditions than these are unlikely to hold the rarest."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the order: behind `after`, up to and with `end`; None for no such bound."""

    after: Position | None = None
    end: Position | None = None


class Reader(Protocol):
    """What an engine does for one search, in one tenant's bucket."""

    @property
    def term_orders(self) -> Collection[Order]:
        """The orders in which a walk may go along a term."""

    async def count(self, drive: Drive, up_to: int) -> int:
        """How many entries the drive names, counted no further than `up_to`."""

    async def gather(self, drive: Drive, after: Position | None, limit: int) -> list[Version]:
        """Of all that the drive names: what fits and lies behind `after`, the first `limit`."""

    async def walk(
        self, along: Term | None, stretch: Stretch, limit: int, examine: int | None
    ) -> list[Version]:
        """What fits in the stretch, in order, until there are `limit` of them.

        along: among what has this (whole) term. examine: how many entries to look at at most.
        """

    async def place(
        self, along: Term | None, after: Position | None, number: int
    ) -> Position | None:
        """Where the `number`-th entry behind `after` stands, None where there are fewer."""


def position_of(version: Version, order: Order) -> Position:
    match order:
        case Order.KEY:
            return Position(0, version.key)
        case Order.CREATED:
            return Position(milliseconds(version.created_at), version.key)
        case Order.SIZE:
            return Position(version.size_bytes, version.key)


def drives_of(wanted: Wanted, order: Order) -> list[Drive]:
    """The conditions that could be read by; that of the order itself bounds every walk anyway."""
    ranges = {
        Order.KEY: bool(wanted.prefix),
        Order.CREATED: wanted.since_ms > 0 or wanted.until_ms is not None,
        Order.SIZE: wanted.size_from > 0 or wanted.size_until is not None,
    }
    return [*wanted.terms, *(each for each, given in ranges.items() if given and each is not order)]


async def run(
    reader: Reader,
    wanted: Wanted,
    sort: Sort,
    *,
    after: Position | None,
    limit: int,
    max_examined: int,
) -> Found:
    """One page: up to `limit` versions and where to go on."""
    search = _Search(reader, sort, after, limit, drives_of(wanted, sort.order))
    return await search.run(max_examined)


@dataclass(frozen=True, slots=True)
class _Search:
    reader: Reader
    sort: Sort
    after: Position | None
    limit: int
    drives: list[Drive]

    async def run(self, max_examined: int) -> Found:
        trial = max(max_examined // 10, self.limit + 1)
        rest = max(max_examined - trial, 1)
        along = self._walkable(self.drives)
        if not self.drives or (along is not None and len(self.drives) == 1):
            return self._page(await self._walk(along, Stretch(self.after)), None)
        counts = await self._count(trial)
        if 0 in counts.values():
            return Found((), None)
        rarest = _rarest(counts, trial)
        if rarest is not None:
            return await self._read_all(rarest)
        found = await self._walk(along, Stretch(self.after), trial)
        if self._is_likely(len(found), trial, rest):
            found = await self._walk(along, Stretch(self.after), rest)
        if len(found) > self.limit:
            return self._page(found, None)
        if rest > trial:
            rarest = _rarest(await self._count(rest), rest)
            if rarest is not None:
                return await self._read_all(rarest)
        end = await self.reader.place(along, self.after, rest)
        return self._page(await self._walk(along, Stretch(self.after, end)), end)

    def _is_likely(self, found: int, trial: int, rest: int) -> bool:
        """Whether a walk over the rest fills the page, by twice the share that the trial found."""
        return 0 < found <= self.limit and 2 * trial * (self.limit + 1) <= rest * found

    def _walkable(self, drives: Sequence[Drive]) -> Term | None:
        """A term whose entries lie in the order of the answer."""
        if self.sort.order not in self.reader.term_orders:
            return None
        return next((each for each in drives if isinstance(each, Term) and each.whole), None)

    async def _count(self, up_to: int) -> dict[Drive, int]:
        """One past the bound is counted, to tell that there are more; the smallest bounds all."""
        counts: dict[Drive, int] = {}
        for drive in sorted(self.drives, key=_promise)[:MOST_COUNTED]:
            most = min([up_to, *counts.values()])
            counts[drive] = await self.reader.count(drive, most + 1)
            if counts[drive] == 0:
                break
        return counts

    async def _read_all(self, drive: Drive) -> Found:
        along = self._walkable([drive])
        if along is not None:
            return self._page(await self._walk(along, Stretch(self.after)), None)
        return self._page(await self.reader.gather(drive, self.after, self.limit + 1), None)

    async def _walk(
        self, along: Term | None, stretch: Stretch, examine: int | None = None
    ) -> list[Version]:
        return await self.reader.walk(along, stretch, self.limit + 1, examine)

    def _page(self, found: list[Version], end: Position | None) -> Found:
        """found: up to one more than the page has, for it tells that the page is not the last."""
        if len(found) <= self.limit:
            return Found(tuple(found), end)
        page = found[: self.limit]
        return Found(tuple(page), position_of(page[-1], self.sort.order))


def _rarest(counts: dict[Drive, int], most: int) -> Drive | None:
    """The drive that names the fewest entries, where these are not more than `most`."""
    drive = min(counts, key=lambda each: counts[each])
    return drive if counts[drive] <= most else None


def _promise(drive: Drive) -> tuple[bool, int]:
    """Sorts first what is likely to be rare: whole terms, the longest words, ranges."""
    if isinstance(drive, Term):
        return not drive.whole, -len(drive.text)
    return True, 0
