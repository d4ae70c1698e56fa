"""The kinds of pages, and how long each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from service.model.bucket import Bucket
from service.model.page import ListQuery, Page
from service.model.search import Order, SearchQuery, Sort, Wanted
from service.protocol.terms import tag_term, type_term, word_terms
from service.protocol.timestamps import milliseconds
from service.usecases.get_object import find_version
from service.usecases.list_objects import list_objects
from service.usecases.runtime import Runtime
from service.usecases.search_objects import search_objects
from tests.load.scale.content import created_at

DEPTH = 3
"""Pages of each walk."""
NEWEST, LARGEST = Sort(Order.CREATED, descending=True), Sort(Order.SIZE, descending=True)
HALF, HUNDREDTH, RARE = (
    tag_term("half", "0"),
    tag_term("hundredth", "7"),
    tag_term("rare", "yes"),
)
FILMS = type_term("video/*")


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    query: ListQuery | SearchQuery | str
    """A string is the key of an object whose facts are read."""


def kinds(size: int) -> list[Kind]:
    """All that are measured in a bucket of so many objects."""
    recent = Wanted(since_ms=milliseconds(created_at(size // 2)))
    large = Wanted(size_from=1 << 20)
    needle, films = word_terms("needl"), word_terms("holid")
    searches = {
        "newest first": (Wanted(), NEWEST),
        "largest first": (Wanted(), LARGEST),
        "a rare tag": (Wanted(terms=(RARE,)), Sort()),
        "a rare tag, newest first": (Wanted(terms=(RARE,)), NEWEST),
        "a rare word": (Wanted(terms=(*needle,)), Sort()),
        "a rare word, largest first": (Wanted(terms=(*needle,)), LARGEST),
        "a rare word, a common tag": (Wanted(terms=(*needle, HALF)), NEWEST),
        "a tag of half": (Wanted(terms=(HALF,)), Sort()),
        "a tag of half, newest first": (Wanted(terms=(HALF,)), NEWEST),
        "a tag of a hundredth": (Wanted(terms=(HUNDREDTH,)), Sort()),
        "a tag of a hundredth, newest first": (Wanted(terms=(HUNDREDTH,)), NEWEST),
        "a type of a third": (Wanted(terms=(FILMS,)), Sort()),
        "a type and a tag of half": (Wanted(terms=(FILMS, HALF)), Sort()),
        "a word of all": (Wanted(terms=(*films,)), Sort()),
        "a word of all, newest first": (Wanted(terms=(*films,)), NEWEST),
        "two words": (Wanted(terms=tuple(word_terms("holid rom"))), Sort()),
        "a size": (large, Sort()),
        "a size, largest first": (large, LARGEST),
        "a time, newest first": (recent, NEWEST),
        "a time and a type": (replace(recent, terms=(FILMS,)), Sort()),
        "a prefix, newest first": (Wanted(prefix="films/00"), NEWEST),
    }
    return [
        Kind("the facts of an object", "films"),
        Kind("all, by key", ListQuery()),
        Kind("a prefix", ListQuery(prefix="films/05")),
        Kind("folders", ListQuery(prefix="films/", delimiter="/")),
        *(Kind(name, SearchQuery(*asked)) for name, asked in searches.items()),
    ]


async def measure(runtime: Runtime, bucket: Bucket, kind: Kind, rounds: int) -> float:
    """The median of the seconds that a page takes."""
    times: list[float] = []
    if isinstance(kind.query, str):
        first = await list_objects(runtime, bucket.tenant, bucket.name, ListQuery(limit=1))
        key = first.items[0].key
        for _ in range(rounds * DEPTH):
            begun = time.perf_counter()
            await find_version(runtime, bucket.tenant, bucket.name, key, None)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)
    for _ in range(rounds):
        await _walk(_asked(runtime, bucket, kind.query), times)
    return statistics.median(times)


def _asked(
    runtime: Runtime, bucket: Bucket, query: ListQuery | SearchQuery
) -> Callable[[str | None], Awaitable[Page]]:
    async def ask(cursor: str | None) -> Page:
        if isinstance(query, ListQuery):
            wanted = replace(query, cursor=cursor)
            return await list_objects(runtime, bucket.tenant, bucket.name, wanted)
        search = replace(query, cursor=cursor)
        return await search_objects(runtime, bucket.tenant, bucket.name, search)

    return ask


async def _walk(ask: Callable[[str | None], Awaitable[Page]], times: list[float]) -> None:
    cursor: str | None = None
    for _ in range(DEPTH):
        begun = time.perf_counter()
        page = await ask(cursor)
        times.append(time.perf_counter() - begun)
        cursor = page.next_cursor
        if cursor is None:
            return
