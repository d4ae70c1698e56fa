"""A search: what objects must be like, the order of the answer, and places in that order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from service.model.version import Version


@dataclass(frozen=True, slots=True)
class Term:
    """One of the strings that an object is found by (`protocol/terms.py` makes them).

    whole: the object has this very term; otherwise one that starts so.
    """

    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an object must fulfil, all of it.

    size_from, size_until: bytes, half-open. since_ms, until_ms: milliseconds since 1970 between
    which it was created, half-open. None where there is no end.
    """

    prefix: str = ""
    terms: tuple[Term, ...] = ()
    size_from: int = 0
    size_until: int | None = None
    since_ms: int = 0
    until_ms: int | None = None


class Order(StrEnum):
    KEY = "key"
    CREATED = "created"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Sort:
    """By the order's number, then by key (bytes of UTF-8); or all of it backwards."""

    order: Order = Order.KEY
    descending: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """limit: 1..1000 objects. cursor: from the page before."""

    wanted: Wanted = field(default_factory=Wanted)
    sort: Sort = field(default_factory=Sort)
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in an order, which an object may stand at or not.

    number: bytes or milliseconds since 1970; 0 in the order of keys. Compares as the order does.
    """

    number: int
    key: str


@dataclass(frozen=True, slots=True)
class Found:
    """One step of a search. resume: go on behind this place; None where nothing can follow."""

    versions: tuple[Version, ...]
    resume: Position | None
