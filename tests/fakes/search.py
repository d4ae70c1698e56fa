"""A search by looking at everything, in order, with the bound that a page has."""

from __future__ import annotations

from collections.abc import Iterable

from service.model.search import Found, Position, Sort, Term, Wanted
from service.model.version import Version
from service.protocol.terms import terms_of
from service.protocol.timestamps import milliseconds
from service.stores.search_plan import position_of


def run(
    entries: Iterable[Version],
    wanted: Wanted,
    sort: Sort,
    after: Position | None,
    limit: int,
    max_examined: int,
) -> Found:
    def place(version: Version) -> Position:
        return position_of(version, sort.order)

    ordered = sorted(entries, key=place, reverse=sort.descending)
    if after is not None:
        ordered = [
            v for v in ordered if (place(v) < after if sort.descending else place(v) > after)
        ]
    page: list[Version] = []
    for number, version in enumerate(ordered):
        if fits(version, wanted):
            page.append(version)
        more = number + 1 < len(ordered)
        if more and (len(page) == limit or number + 1 == max_examined):
            return Found(tuple(page), place(version))
    return Found(tuple(page), None)


def fits(version: Version, wanted: Wanted) -> bool:
    terms = terms_of(version.key, version.facts)
    created = milliseconds(version.created_at)
    return (
        version.key.startswith(wanted.prefix)
        and all(_has(terms, term) for term in wanted.terms)
        and wanted.size_from <= version.size_bytes
        and (wanted.size_until is None or version.size_bytes < wanted.size_until)
        and wanted.since_ms <= created
        and (wanted.until_ms is None or created < wanted.until_ms)
    )


def _has(terms: list[str], term: Term) -> bool:
    return term.text in terms if term.whole else any(t.startswith(term.text) for t in terms)
