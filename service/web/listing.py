"""`GET /v1/buckets/{bucket}/objects?prefix=&delimiter=&limit=&cursor=`."""

from __future__ import annotations

from aiohttp import web

from service.errors import Invalid, InvalidKey
from service.model.page import ListQuery
from service.protocol.link_header import format_link
from service.protocol.names import decode_path, validate_prefix
from service.usecases.list_objects import list_objects
from service.web.json import Answer, answer
from service.web.pages import read_limit
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import next_page_url
from service.web.version_answer import VersionAnswer, shown

_KNOWN = frozenset(("prefix", "delimiter", "limit", "cursor"))


class ObjectPage(Answer):
    items: tuple[VersionAnswer, ...]
    prefixes: tuple[str, ...]
    next: str | None


async def get_objects(request: web.Request) -> web.Response:
    """A page; it may be short, even empty, while `next` goes on."""
    bucket = request[TARGET].bucket
    page = await list_objects(
        runtime_of(request), request[PRINCIPAL].tenant, bucket, read_query(request)
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


def read_query(request: web.Request) -> ListQuery:
    """Raises Invalid: a filter that is not understood would list what nobody asked for."""
    for name in request.query:
        if name not in _KNOWN or len(request.query.getall(name)) > 1:
            raise Invalid("an unknown or repeated query parameter", parameter=name)
    try:
        # The framework leaves broken escapes as they are, which would name another prefix.
        decode_path(request.rel_url.raw_query_string)
        prefix = validate_prefix(request.query.get("prefix", ""))
        delimiter = validate_prefix(request.query.get("delimiter", ""))
    except InvalidKey as error:
        raise Invalid(error.detail) from error
    return ListQuery(prefix, delimiter or None, read_limit(request), request.query.get("cursor"))
