"""Query parameters: one pydantic model a route, which the guard reads and the API document shows.

A parameter that is unknown, repeated or out of its bounds is refused by name, so nothing that was
asked for is ever left out in silence. Values come as text, of which a number, a truth value or a
time has one spelling here: pydantic alone would read `１_０`, `yes` and seconds since 1970 too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from service.errors import Invalid, InvalidKey
from service.protocol.names import MAX_KEY_BYTES, PREFIX_PATTERN, decode_path
from service.web.state import QUERY

_SPELLINGS: dict[type, tuple[re.Pattern[str], str]] = {
    int: (re.compile(r"[0-9]{1,19}"), "is a number in decimal digits"),
    bool: (re.compile(r"true|false"), "is true or false"),
    datetime: (
        re.compile(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
            r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
        ),
        "is a time such as 2026-01-02T03:04:05Z (RFC 3339)",
    ),
}
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000


Prefix = Annotated[str, Field(max_length=MAX_KEY_BYTES, pattern=PREFIX_PATTERN)]


class Query(BaseModel):
    """Base of all of them; each field needs a description.

    families: prefix of parameters (`tag.`) -> the field, a `dict[str, str]`, that gathers them by
    what stands behind the prefix.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    families: ClassVar[dict[str, str]] = {}

    @field_validator("*", mode="before")
    @classmethod
    def _spelled(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls, info.field_name or "")
        for kind, (spelling, says) in _SPELLINGS.items():
            if kind in kinds and isinstance(value, str) and not spelling.fullmatch(value):
                raise ValueError(says)
        return value


@cache
def _kinds(model: type[BaseModel], field: str) -> frozenset[Any]:
    return frozenset(_types_in(model.model_fields[field].annotation))


def _types_in(annotation: Any) -> Iterator[Any]:
    """`Annotated[int, …] | None` -> int, NoneType among others."""
    yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


class PageQuery(Query):
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="At most so many entries.")
    cursor: str | None = Field(None, description="`next` of the page before.")


Q = TypeVar("Q", bound=Query)


def read_query(request: web.Request, model: type[Q]) -> Q:
    """Raises Invalid, with the parameter's name where one is at fault."""
    given = _given(request, model) if request.rel_url.raw_query_string else {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        item = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(str(step) for step in item["loc"])
        raise Invalid(f"query parameter `{name}`: {item['msg']}", parameter=name) from error


def _given(request: web.Request, model: type[Query]) -> dict[str, Any]:
    """Text by the fields of the model."""
    try:
        # The framework leaves broken escapes as they are, which would name something else.
        decode_path(request.rel_url.raw_query_string)
    except InvalidKey as error:
        raise Invalid(error.detail) from error
    given: dict[str, Any] = {}
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise Invalid(f"the query parameter {name!r} is repeated", parameter=name)
        _place(given, model, name, request.query[name])
    return given


def _place(given: dict[str, Any], model: type[Query], name: str, value: str) -> None:
    for prefix, field in model.families.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            given.setdefault(field, {})[name.removeprefix(prefix)] = value
            return
    if name not in model.model_fields or name in model.families.values():
        raise Invalid(f"there is no query parameter {name!r} here", parameter=name)
    given[name] = value


def query_of(request: web.Request, model: type[Q]) -> Q:
    """What the guard read; `model` is the one that the route is described with."""
    query = request[QUERY]
    assert isinstance(query, model), f"the route is not described with {model.__name__}"
    return query
