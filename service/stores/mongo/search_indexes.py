"""The rows of searches in the table of indexes and query shapes (`indexes.py`).

However the filters of a search are combined, one condition decides what is read, so few shapes
reach the server; the other conditions stand in a second stage of the pipeline, behind a `$limit`
that keeps the server from merging the two. `search.created` and `search.size` are the number with
the key behind it: one string names a place in the order, and a page is one range of it.
"""

from __future__ import annotations

from service.stores.mongo.index_rows import Index, Shape

TERMS, CREATED, SIZE = "search.terms", "search.created", "search.size"
_SCOPE = ("tenant", "bucket_id", "kind", "latest")

SEARCH_INDEXES = (
    Index("versions", "search_terms", (*_SCOPE, TERMS, "key"), partial={"latest": True}),
    Index("versions", "search_created", (*_SCOPE, CREATED), partial={"latest": True}),
    Index("versions", "search_size", (*_SCOPE, SIZE), partial={"latest": True}),
)


def _shape(query: str, index: str, sort: str | None = None, **compared: str) -> Shape:
    fields = {"terms": TERMS, "created": CREATED, "size": SIZE, "key": "key"}
    filter = dict.fromkeys(_SCOPE, "=") | {fields[name]: how for name, how in compared.items()}
    return Shape("versions", query, filter, index, sort=(fields[sort],) if sort else ())


SEARCH_SHAPES = (
    _shape("search by a term: count, gather", "search_terms", terms="=", key=">"),
    _shape("search along a term, by key", "search_terms", sort="key", terms="=", key=">"),
    _shape("search by the start of a word", "search_terms", terms="^"),
    _shape("search by a prefix: count, gather", "listing", key=">"),
    _shape("search by time: count, gather", "search_created", created=">"),
    _shape("search in order of time", "search_created", sort="created", created=">"),
    _shape("search by size: count, gather", "search_size", size=">"),
    _shape("search in order of size", "search_size", sort="size", size=">"),
)
