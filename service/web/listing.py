"""`GET /v1/buckets/{bucket}/objects?prefix=&delimiter=&limit=&cursor=`."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from service.errors import BucketNotFound, Invalid, InvalidCursor, InvalidKey
from service.model.page import ListQuery
from service.protocol.link_header import format_link
from service.protocol.names import validate_prefix
from service.usecases.list_objects import list_objects
from service.web.describe import Reply, describe
from service.web.fields import LINK
from service.web.json import Answer, answer
from service.web.query import PageQuery, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import next_page_url
from service.web.version_answer import VersionAnswer, shown


class ObjectsQuery(PageQuery):
    prefix: str = Field("", description="Only keys that start with it.")
    delimiter: str = Field("", description="Keys that have it behind the prefix are told once.")


class ObjectPage(Answer):
    items: tuple[VersionAnswer, ...]
    prefixes: tuple[str, ...]
    next: str | None


@describe(
    "Objects by pages.",
    query=ObjectsQuery,
    answers={200: Reply(ObjectPage, LINK)},
    problems=(BucketNotFound, InvalidCursor),
)
async def get_objects(request: web.Request) -> web.Response:
    """A page; it may be short, even empty, while `next` goes on."""
    bucket = request[TARGET].bucket
    page = await list_objects(
        runtime_of(request), request[PRINCIPAL].tenant, bucket, _wanted(request)
    )
    headers = {}
    if page.next_cursor is not None:
        headers["Link"] = format_link(next_page_url(request, page.next_cursor), "next")
    body = ObjectPage(
        items=tuple(shown(bucket, version) for version in page.items),
        prefixes=page.prefixes,
        next=page.next_cursor,
    )
    return answer(body, headers=headers)


def _wanted(request: web.Request) -> ListQuery:
    """Raises Invalid."""
    query = query_of(request, ObjectsQuery)
    try:
        prefix, delimiter = validate_prefix(query.prefix), validate_prefix(query.delimiter)
    except InvalidKey as error:
        raise Invalid(error.detail) from error
    return ListQuery(prefix, delimiter or None, query.limit, query.cursor)
