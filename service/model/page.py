"""A page of a listing."""

from __future__ import annotations

from dataclasses import dataclass

from service.model.version import Version


@dataclass(frozen=True, slots=True)
class ListQuery:
    """limit: 1..1000 entries, items and prefixes together. cursor: from the page before."""

    prefix: str = ""
    delimiter: str | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """items in key order; prefixes: what the delimiter cut off, each once in a whole walk.

    A page may be short, even empty, while `next_cursor` says that there is more.
    """

    items: tuple[Version, ...]
    prefixes: tuple[str, ...]
    next_cursor: str | None
