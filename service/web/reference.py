"""`/openapi.json`, and the page that shows it: `/docs`, whole without any other host."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import orjson
from aiohttp import hdrs, web

from service.errors import NotFound
from service.protocol.conditionals import format_etag, parse_preconditions
from service.web.describe import Reply, describe
from service.web.fields import CACHE_CONTROL, ETAG, IF_NONE_MATCH
from service.web.openapi.document import build
from service.web.page import FILES, PAGE
from service.web.route import Route

JSON = "application/json"
# Swagger UI sets styles on its elements and has its icons as data; it may call nobody but us.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAID = (ETAG, CACHE_CONTROL)
_NOT_MODIFIED = Reply(None, *_SAID, says="What the client has is still good.")


@dataclass(frozen=True, slots=True)
class File:
    """Bytes that stay the same as long as the process runs. etag: without quotes."""

    body: bytes
    media_type: str
    etag: str


def _file(body: bytes, media_type: str) -> File:
    return File(body, media_type, hashlib.sha256(body).hexdigest()[:32])


class Reference:
    """The document of an application's routes, made when it is first asked for."""

    def __init__(self, routes: Iterable[Route], public_url: str | None) -> None:
        self._routes = tuple(routes)
        self._public_url = public_url

    @cached_property
    def document(self) -> File:
        return _file(orjson.dumps(build(self._routes, self._public_url)), JSON)


REFERENCE = web.AppKey("reference", Reference)


@describe(
    "This document.",
    query=None,
    headers=IF_NONE_MATCH,
    answers={200: Reply(JSON, *_SAID), 304: _NOT_MODIFIED},
)
async def get_openapi(request: web.Request) -> web.Response:
    reference = request.config_dict[REFERENCE]
    return _answer(request, await asyncio.to_thread(lambda: reference.document))


@describe(
    "A page that shows this document.",
    query=None,
    headers=IF_NONE_MATCH,
    answers={200: Reply("text/html", *_SAID), 304: _NOT_MODIFIED},
)
async def get_docs(request: web.Request) -> web.Response:
    return _answer(request, await asyncio.to_thread(_read, PAGE))


@describe(
    "What that page is made of.",
    query=None,
    headers=IF_NONE_MATCH,
    answers={200: Reply(tuple(dict.fromkeys(FILES.values())), *_SAID), 304: _NOT_MODIFIED},
    problems=(NotFound,),
)
async def get_docs_file(request: web.Request) -> web.Response:
    name = request.match_info["file"]
    if name not in FILES:
        raise NotFound
    return _answer(request, await asyncio.to_thread(_read, name))


@cache
def _read(name: str) -> File:
    """name: of `FILES`, so that nobody chooses a path."""
    return _file((files("service") / "console" / "docs" / name).read_bytes(), FILES[name])


def _answer(request: web.Request, file: File) -> web.Response:
    headers = {
        hdrs.ETAG: format_etag(file.etag),
        hdrs.CACHE_CONTROL: "no-cache",
        "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    }
    known = parse_preconditions(request.headers).if_none_match
    if known is not None and known.match_weakly(file.etag):
        return web.Response(status=304, headers=headers)
    charset = None if file.media_type == JSON else "utf-8"
    return web.Response(
        body=file.body, content_type=file.media_type, charset=charset, headers=headers
    )
