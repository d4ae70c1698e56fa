"""What a page of a search costs: the entries that it looks at, whatever is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from service.model.ids import BlobKey, BucketId, TenantId, VersionId
from service.model.search import Found, Order, Position, Sort, Term, Wanted
from service.model.version import ObjectFacts, Version
from service.protocol.terms import tag_term, terms_of, word_terms
from service.stores.search_plan import Drive, Stretch, position_of, run
from tests.fakes.search import fits

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 2_000


def make(number: int) -> Version:
    """Half of all are `even`, one of a hundred is `some`, ten of all are `rare`."""
    tags = {"parity": "even" if number % 2 == 0 else "odd", "some": str(number % 100)}
    if number < 10:
        tags["rare"] = "1"
    at = START + timedelta(milliseconds=number * 7919 % 100_003)
    facts = ObjectFacts(tags=tags, filename=f"w{number % 2} v{number % 100} u{number}")
    return Version(
        VersionId(str(number)), TenantId("t"), BucketId("b"), f"{number:06}",
        BlobKey(str(number)), number * 31 % 1009, {}, facts, 1, at, at,
    )  # fmt: skip


VERSIONS = [make(number) for number in range(8_000)]
TERMS = {version.id: set(terms_of(version.key, version.facts)) for version in VERSIONS}


@dataclass
class Counted:
    """A reader of all VERSIONS that counts what it reads: documents, and entries of an index."""

    wanted: Wanted
    sort: Sort
    term_orders: frozenset[Order] = frozenset({Order.KEY})
    documents: int = 0
    entries: int = 0
    calls: list[str] = field(default_factory=list)

    def _names(self, drive: Drive) -> list[Version]:
        if isinstance(drive, Order):
            return [version for version in VERSIONS if self._within(version, drive)]
        if drive.whole:
            return [version for version in VERSIONS if drive.text in TERMS[version.id]]
        return [v for v in VERSIONS if any(t.startswith(drive.text) for t in TERMS[v.id])]

    def _within(self, version: Version, order: Order) -> bool:
        assert order is not Order.CREATED or self.wanted.until_ms is None
        until = self.wanted.size_until or 1 << 60
        return version.key.startswith(self.wanted.prefix) and (
            order is not Order.SIZE or self.wanted.size_from <= version.size_bytes < until
        )

    def _along(self, along: Term | None, stretch: Stretch) -> list[Version]:
        """What a walk meets: the range that is wanted of the order, in the stretch."""
        named = VERSIONS if along is None else self._names(along)
        found = [version for version in named if self._within(version, self.sort.order)]
        return self._ordered(found, stretch)

    def _ordered(self, found: list[Version], stretch: Stretch) -> list[Version]:
        def place(version: Version) -> Position:
            return position_of(version, self.sort.order)

        low, high = stretch.after, stretch.end
        if self.sort.descending:
            low, high = high, low
            found = [v for v in found if not low or place(v) >= low]
            found = [v for v in found if not high or place(v) < high]
        else:
            found = [v for v in found if not low or place(v) > low]
            found = [v for v in found if not high or place(v) <= high]
        return sorted(found, key=place, reverse=self.sort.descending)

    async def count(self, drive: Drive, up_to: int) -> int:
        self.calls.append("count")
        number = min(len(self._names(drive)), up_to)
        self.entries += number
        return number

    async def gather(self, drive: Drive, after: Position | None, limit: int) -> list[Version]:
        self.calls.append("gather")
        named = self._names(drive)
        self.documents += len(named)
        behind = self._ordered(named, Stretch(after))
        return [v for v in behind if fits(v, self.wanted)][:limit]

    async def walk(
        self, along: Term | None, stretch: Stretch, limit: int, examine: int | None
    ) -> list[Version]:
        self.calls.append("walk")
        found: list[Version] = []
        for number, version in enumerate(self._along(along, stretch)):
            if len(found) == limit or number == examine:
                break
            self.documents += 1
            if fits(version, self.wanted):
                found.append(version)
        return found

    async def place(
        self, along: Term | None, after: Position | None, number: int
    ) -> Position | None:
        self.calls.append("place")
        behind = self._along(along, Stretch(after))
        self.entries += min(number, len(behind))
        return position_of(behind[number - 1], self.sort.order) if len(behind) >= number else None


async def page(
    wanted: Wanted, sort: Sort, after: Position | None = None, limit: int = 100
) -> tuple[Found, Counted]:
    reader = Counted(wanted, sort)
    found = await run(reader, wanted, sort, after=after, limit=limit, max_examined=MOST)
    return found, reader


EVEN, RARE, SOME = tag_term("parity", "even"), tag_term("rare", "1"), tag_term("some", "7")
ODD_WORD = word_terms("w1")[0]
SEARCHES = {
    "all": Wanted(),
    "even": Wanted(terms=(EVEN,)),
    "some": Wanted(terms=(SOME,)),
    "rare": Wanted(terms=(RARE,)),
    "even and rare": Wanted(terms=(EVEN, RARE)),
    "a common word": Wanted(terms=(ODD_WORD,)),
    "common words": Wanted(terms=(*word_terms("w1 v"),)),
    "even, and odd": Wanted(terms=(EVEN, ODD_WORD)),
    "a rare word": Wanted(terms=tuple(word_terms("u1234"))),
    "a size": Wanted(size_from=1000),
    "even of a size": Wanted(terms=(EVEN,), size_from=500),
    "a prefix": Wanted(prefix="00000"),
    "even of a prefix": Wanted(terms=(EVEN,), prefix="001"),
}
SORTS = [Sort(), Sort(Order.CREATED, descending=True), Sort(Order.SIZE)]


@pytest.mark.parametrize("name", SEARCHES)
async def test_no_page_looks_at_more_than_its_share(name: str):
    for sort in SORTS:
        found, reader = await page(SEARCHES[name], sort)
        assert reader.documents <= MOST + 2
        assert reader.entries <= 3 * MOST
        if found.resume is not None:
            _, reader = await page(SEARCHES[name], sort, found.resume)
            assert reader.documents <= MOST + 2


@pytest.mark.parametrize(
    ("name", "sort", "documents", "calls"),
    [
        ("all", Sort(), 51, ["walk"]),
        ("all", Sort(Order.SIZE, descending=True), 51, ["walk"]),
        ("even", Sort(), 51, ["walk"]),
        ("some", Sort(), 51, ["walk"]),
        ("rare", Sort(), 10, ["walk"]),
        ("rare", Sort(Order.CREATED), 10, ["count", "gather"]),
        ("even and rare", Sort(), 10, ["count", "count", "walk"]),
        ("a rare word", Sort(Order.SIZE), 11, ["count", "gather"]),
        ("even", Sort(Order.CREATED), 120, ["count", "walk"]),
        ("a common word", Sort(), 120, ["count", "walk"]),
        ("a size", Sort(Order.SIZE), 51, ["walk"]),
        ("a prefix", Sort(Order.CREATED), 100, ["count", "gather"]),
    ],
)
async def test_a_page_costs_about_what_it_shows(
    name: str, sort: Sort, documents: int, calls: list[str]
):
    found, reader = await page(SEARCHES[name], sort, limit=50)
    assert reader.calls == calls
    assert reader.documents <= documents
    assert all(fits(version, SEARCHES[name]) for version in found.versions)


async def test_what_is_neither_rare_nor_common_is_gathered_after_a_trial():
    """1,111 of 8,000 by one word, and half of these by another, in the order of time."""
    wanted = Wanted(terms=tuple(word_terms("v7 w1")), size_from=500)
    found, reader = await page(wanted, Sort(Order.CREATED))
    assert reader.calls[-1] == "gather"
    assert len(found.versions) == 100


async def test_filters_that_exclude_each_other_end_pages_early_but_get_ahead():
    after: Position | None = None
    steps = 0
    while True:
        found, _ = await page(SEARCHES["even, and odd"], Sort(), after)
        assert found.versions == ()
        steps += 1
        if found.resume is None:
            break
        assert after is None or found.resume > after
        after = found.resume
    assert steps == 4_000 // (MOST - MOST // 10) + 1


async def test_a_condition_that_nothing_fulfils_ends_the_search_at_once():
    wanted = Wanted(terms=(EVEN, tag_term("none", "1")))
    found, reader = await page(wanted, Sort(Order.SIZE))
    assert found == Found((), None)
    assert "walk" not in reader.calls
