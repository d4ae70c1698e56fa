"""What the API document says of a route, beside its handler.

    @describe(
        "Change the settings of a bucket.",
        headers=IF_MATCH,
        body=Json(BucketBody),
        answers={200: Reply(BucketAnswer, ETAG)},
        problems=(BucketNotFound, PreconditionFailed),
    )
    async def patch_bucket(request: web.Request) -> web.Response: ...

What follows from the rest is added by the document (`openapi`), so nobody repeats it: names in the
path and what is wrong with them, 401 and 403 of a route with a scope, what a body of JSON may fail
by, the stores' 503, `HEAD` of every `GET`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from service.errors import MediagateError
from service.web.fields import HeaderField
from service.web.middleware import Handler
from service.web.query import Query


class NoQuery(Query):
    """For a route that takes no parameters: any is refused."""


@dataclass(frozen=True, slots=True)
class Json:
    """A body of JSON. optional: no body at all counts as `{}`. merge_patch: RFC 7396 is meant."""

    model: type[BaseModel]
    optional: bool = False
    merge_patch: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """A body of bytes, streamed. media_types: what a client may call it; none for anything.

    optional: no body at all counts as one of no bytes.
    """

    media_types: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """`multipart/form-data`, streamed. fields: those beside the files."""

    fields: tuple[HeaderField, ...] = ()


Body = Json | Raw | Form


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. content: a model for JSON, media types for bytes, None for no body."""

    content: type[BaseModel] | tuple[str, ...] | None
    headers: tuple[HeaderField, ...]
    says: str

    def __init__(
        self,
        content: type[BaseModel] | str | tuple[str, ...] | None = None,
        *headers: HeaderField,
        says: str = "",
    ) -> None:
        several = (content,) if isinstance(content, str) else content
        object.__setattr__(self, "content", several)
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "says", says)


@dataclass(frozen=True, slots=True)
class Operation:
    """A handler and its description; called like the handler.

    query: None takes whatever comes, for routes that belong to other people's tools.
    """

    handler: Handler
    summary: str
    query: type[Query] | None
    headers: tuple[HeaderField, ...]
    bodies: tuple[Body, ...]
    answers: Mapping[int, Reply]
    problems: tuple[type[MediagateError], ...]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        return await self.handler(request)

    @property
    def name(self) -> str:
        return str(getattr(self.handler, "__name__", ""))


def describe(
    summary: str,
    *,
    answers: Mapping[int, Reply],
    query: type[Query] | None = NoQuery,
    headers: tuple[HeaderField, ...] = (),
    body: Body | tuple[Body, ...] = (),
    problems: tuple[type[MediagateError], ...] = (),
) -> Callable[[Handler], Operation]:
    """summary: one sentence. body: several where the same route takes one or the other."""

    bodies = body if isinstance(body, tuple) else (body,)

    def described(handler: Handler) -> Operation:
        return Operation(handler, summary, query, headers, bodies, answers, problems)

    return described
