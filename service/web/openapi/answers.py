"""Answers: those that a handler gives, and the problems that it and its surroundings tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from service import errors
from service.errors import MediagateError
from service.protocol.problem import CONTENT_TYPE
from service.web.describe import Json, Operation, Reply
from service.web.fields import HeaderField
from service.web.openapi.schemas import JsonSchema, Schemas
from service.web.problems import status_of

_ANY = (errors.Invalid, MediagateError)
_OF_A_BODY = (errors.IncompleteBody, errors.SlowClient, errors.TooLarge)
_STORES = (errors.StoreUnavailable, errors.StoreTimeout)
_STORES_AT_A_WRITE = (errors.OutcomeUnknown, errors.Fenced, errors.StoreFull)
_REQUEST_ID = {"$ref": "#/components/headers/X-Request-Id"}
COMPONENT_HEADERS = {
    "X-Request-Id": {
        "description": "The request's own id where it had a harmless one, else a new one.",
        "required": True,
        "schema": {"type": "string"},
    }
}
PROBLEM: JsonSchema = {
    "title": "Problem",
    "description": "RFC 9457. Some problems have more members.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "Stable; for programs."},
        "detail": {"type": "string", "description": "For people."},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "code", "detail", "request_id"],
}


def answers_of(
    method: str, path: str, *, guarded: bool, operation: Operation, schemas: Schemas
) -> dict[str, Any]:
    """The Responses Object. method: in upper case; that of a HEAD has no bodies."""
    empty = method == "HEAD"
    told = {
        str(status): _answer(status, reply, schemas, empty=empty)
        for status, reply in operation.answers.items()
    }
    codes: defaultdict[int, set[str]] = defaultdict(set)
    for kind in _problems(method, path, guarded, operation):
        codes[status_of(kind)].add(kind.code)
    for status, names in codes.items():
        told.setdefault(str(status), _problem(status, sorted(names), empty=empty))
    return dict(sorted(told.items()))


def _problems(
    method: str, path: str, guarded: bool, operation: Operation
) -> Iterable[type[MediagateError]]:
    yield from _ANY
    yield from operation.problems
    if guarded:
        yield from (errors.Unauthenticated, errors.Forbidden, *_STORES)
        if method not in ("GET", "HEAD"):
            yield from _STORES_AT_A_WRITE
    if "{bucket}" in path:
        yield errors.InvalidBucketName
    if "{key}" in path:
        yield errors.InvalidKey
    if operation.bodies:
        yield from _OF_A_BODY
    if any(isinstance(body, Json) for body in operation.bodies):
        yield errors.UnsupportedMedia


def _answer(status: int, reply: Reply, schemas: Schemas, *, empty: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": reply.says or HTTPStatus(status).phrase + ".",
        "headers": {"X-Request-Id": _REQUEST_ID, **dict(map(_header, reply.headers))},
    }
    if reply.content is not None and not empty:
        answer["content"] = (
            {"application/json": {"schema": schemas.answer(reply.content)}}
            if isinstance(reply.content, type)
            else {kind: {} for kind in reply.content}
        )
    return answer


def _header(header: HeaderField) -> tuple[str, dict[str, Any]]:
    always = {"required": True} if header.always else {}
    return header.example_name, {
        "description": header.says,
        **always,
        "schema": header.schema,
    }


def _problem(status: int, codes: list[str], *, empty: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _phrase(status) + ": " + ", ".join(f"`{c}`" for c in codes) + ".",
        "headers": {"X-Request-Id": _REQUEST_ID},
    }
    if not empty:
        schema = {
            "allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"code": {"enum": codes}, "status": {"const": status}}},
            ]
        }
        answer["content"] = {CONTENT_TYPE: {"schema": schema}}
    return answer


def _phrase(status: int) -> str:
    """460 is tus's own."""
    return "Checksum Mismatch" if status == 460 else HTTPStatus(status).phrase
