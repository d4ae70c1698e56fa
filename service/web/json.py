"""JSON in and out: pydantic models, strictly.

A field that is not known, or a value of another type, is refused with the field's name; nothing is
coerced, so `{"$ne": null}` where text belongs never gets further than here.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, ClassVar, TypeVar

from aiohttp import web
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from service.errors import Invalid, SlowClient, TooLarge, UnsupportedMedia
from service.web.expect import send_continue
from service.web.state import runtime_of

MAX_BODY_BYTES = 64 << 10
_ACCEPTED = frozenset({"application/json", "application/merge-patch+json"})


class Body(BaseModel):
    """Base of what clients send. max_body_bytes: of the JSON as it is sent, escapes included."""

    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """Base of what they get."""

    model_config = ConfigDict(frozen=True)


def timestamp(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds: `2026-01-02T03:04:05.678Z`."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
B = TypeVar("B", bound=Body)


def _integral(value: object) -> object:
    """JSON has one kind of number: `5.0` is an integer there (JSON Schema 2020-12 §6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integral = BeforeValidator(_integral)
"""Beside every `int` of a body, after its bounds: `Annotated[int, Field(ge=0), Integral]`."""


async def read_body(request: web.Request, model: type[B], *, optional: bool = False) -> B:
    """The request's JSON as a `model`. optional: no body at all counts as `{}`.

    Raises Invalid, UnsupportedMedia, SlowClient, TooLarge.
    """
    await send_continue(request)
    try:
        async with asyncio.timeout(runtime_of(request).settings.http.idle_timeout_s):
            raw = await _read(request, model.max_body_bytes)
    except TimeoutError as error:
        raise SlowClient from error
    if optional and not raw:
        raw = b"{}"
    elif request.content_type not in _ACCEPTED:
        raise UnsupportedMedia("send application/json")
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _invalid(error) from error


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body. The framework's own limit is one for all routes."""
    raw = bytearray()
    while len(raw) <= limit_bytes and (chunk := await request.content.readany()):
        raw += chunk
    if len(raw) > limit_bytes:
        raise TooLarge(f"a body of JSON has at most {limit_bytes} bytes here", limit=limit_bytes)
    return bytes(raw)


def _invalid(error: ValidationError) -> Invalid:
    """Says which field and why, without repeating what was sent."""
    problems = [
        {"field": ".".join(str(step) for step in item["loc"]), "problem": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = problems[0]
    where = f"field `{first['field']}`: " if first["field"] else ""
    return Invalid(where + first["problem"], errors=problems)


def answer(
    body: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=body.model_dump_json().encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
