"""`GET /v1/buckets/{bucket}/objects`: the listing and the search, which are one resource.

Without a condition but the prefix, in the order of keys, it is a listing: that knows folders and
costs what it shows. With any other it is a search.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from aiohttp import web
from pydantic import Field

from service.errors import BucketNotFound, Invalid, InvalidCursor, InvalidKey
from service.model.page import ListQuery, Page
from service.model.search import Order, SearchQuery, Sort, Term, Wanted
from service.protocol.link_header import format_link
from service.protocol.names import validate_prefix
from service.protocol.terms import metadata_term, tag_term, type_term, word_terms
from service.protocol.timestamps import milliseconds_from
from service.usecases.list_objects import list_objects
from service.usecases.search_objects import search_objects
from service.web.describe import Reply, describe
from service.web.fields import LINK
from service.web.json import Answer, answer
from service.web.query import PageQuery, Prefix, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import next_page_url
from service.web.version_answer import VersionAnswer, shown

MEDIA_TYPE = r"^[0-9A-Za-z!#$%&'+.^_`|~-]+/([0-9A-Za-z!#$%&'+.^_`|~-]+|\*)$"
MAX_BYTES = 2**63 - 1


class ObjectsQuery(PageQuery):
    families: ClassVar[dict[str, str]] = {"tag.": "tags", "meta.": "user_metadata"}

    prefix: Prefix = Field("", description="Only keys that start with it.")
    delimiter: Prefix = Field("", description="Keys that have it behind the prefix are told once.")
    q: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Each word starts a word of the key, the filename or a value of the metadata.",
    )
    type: str | None = Field(
        None, max_length=255, pattern=MEDIA_TYPE, description="`video/mp4` or `video/*`."
    )
    tags: dict[str, str] = Field({}, description="Tags that it has, with these values.")
    user_metadata: dict[str, str] = Field({}, description="User metadata that it has.")
    size_min: int | None = Field(None, ge=0, le=MAX_BYTES, description="Bytes, itself included.")
    size_max: int | None = Field(None, ge=0, le=MAX_BYTES, description="Bytes, itself included.")
    since: datetime | None = Field(None, description="Created then or later.")
    until: datetime | None = Field(None, description="Created before.")
    sort: Literal["key", "-key", "created", "-created", "size", "-size"] = Field(
        "key", description="The order; with `-` the greatest first."
    )


class ObjectPage(Answer):
    items: tuple[VersionAnswer, ...]
    prefixes: tuple[str, ...]
    next: str | None


@describe(
    "Objects by pages: all, or those that fulfil all the conditions.",
    query=ObjectsQuery,
    answers={200: Reply(ObjectPage, LINK)},
    problems=(BucketNotFound, InvalidCursor),
)
async def get_objects(request: web.Request) -> web.Response:
    """A page; it may be short, even empty, while `next` goes on."""
    bucket = request[TARGET].bucket
    page = await _page(request, bucket)
    headers = {}
    if page.next_cursor is not None:
        headers["Link"] = format_link(next_page_url(request, page.next_cursor), "next")
    body = ObjectPage(
        items=tuple(shown(bucket, version) for version in page.items),
        prefixes=page.prefixes,
        next=page.next_cursor,
    )
    return answer(body, headers=headers)


async def _page(request: web.Request, bucket: str) -> Page:
    query = query_of(request, ObjectsQuery)
    try:
        prefix, delimiter = validate_prefix(query.prefix), validate_prefix(query.delimiter)
    except InvalidKey as error:
        raise Invalid(error.detail) from error
    runtime, tenant = runtime_of(request), request[PRINCIPAL].tenant
    wanted, sort = _wanted(query), _sort(query)
    if wanted == Wanted(prefix=prefix) and sort == Sort():
        listing = ListQuery(prefix, delimiter or None, query.limit, query.cursor)
        return await list_objects(runtime, tenant, bucket, listing)
    if delimiter:
        raise Invalid(
            "delimiter goes with prefix and sort=key, not with a search", parameter="delimiter"
        )
    search = SearchQuery(wanted, sort, query.limit, query.cursor)
    return await search_objects(runtime, tenant, bucket, search)


def _wanted(query: ObjectsQuery) -> Wanted:
    return Wanted(
        prefix=query.prefix,
        terms=tuple(_terms(query)),
        size_from=query.size_min or 0,
        size_until=None if query.size_max is None else query.size_max + 1,
        since_ms=0 if query.since is None else milliseconds_from(query.since),
        until_ms=None if query.until is None else milliseconds_from(query.until),
    )


def _terms(query: ObjectsQuery) -> list[Term]:
    """Raises Invalid."""
    names = [name.lower() for name in query.user_metadata]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(
                "names of metadata know no case: one is repeated", parameter=f"meta.{name}"
            )
    return [
        *(tag_term(name, value) for name, value in query.tags.items()),
        *(metadata_term(name.lower(), value) for name, value in query.user_metadata.items()),
        *([] if query.type is None else [type_term(query.type.lower())]),
        *([] if query.q is None else word_terms(query.q)),
    ]


def _sort(query: ObjectsQuery) -> Sort:
    return Sort(Order(query.sort.removeprefix("-")), descending=query.sort.startswith("-"))
