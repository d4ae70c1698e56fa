"""Holds what the service sends against its own API document.

Every response of every test in this folder passes through `Conformance.look`: a status, a media
type, a member or a header field that the document does not know, or one that it promises and that
is missing, fails the test that saw it.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import orjson
from aiohttp import hdrs, web
from jsonschema import Draft202012Validator

from service.protocol.problem import CONTENT_TYPE as PROBLEM
from service.web.middleware import route_of
from service.web.openapi.document import build
from service.web.routes import ROUTES

DOCUMENT = build(ROUTES, None)
_OF_NO_ROUTE = {404: "not_found", 405: "method_not_allowed"}
_OF_THE_PROTOCOL = {417, 501, 505}
"""Told to any request before its route matters; no operation's answers."""


@cache
def _components() -> dict[str, Any]:
    """With objects closed: a member that is sent must be told. Problems are open on purpose."""
    components = deepcopy(DOCUMENT["components"])
    for name, schema in components["schemas"].items():
        if name != "Problem" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return components


@cache
def _validator(path: str, method: str, status: int, media_type: str) -> Draft202012Validator:
    schema = answer_told(path, method, status)["content"][media_type]["schema"]
    return Draft202012Validator(
        {**schema, "components": _components()}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def answer_told(path: str, method: str, status: int) -> dict[str, Any]:
    """Raises KeyError where the document knows no such answer."""
    answer: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    return answer


class Conformance:
    """wrong: what was seen against the document, as sentences."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    async def look(self, request: web.Request, response: web.StreamResponse) -> None:
        """on_response_prepare, after everything that sets header fields."""
        path, method = route_of(request), request.method
        if response.status in _OF_THE_PROTOCOL:
            return
        if path == "unmatched" or method not in _methods(path):
            if path == "unmatched" and response.status in _OF_NO_ROUTE:
                self._problem_of_no_route(response)
            return
        try:
            told = answer_told(path, method, response.status)
        except KeyError:
            self._tell(request, response, "the document knows no such status")
            return
        for name, header in told["headers"].items():
            if header.get("required") and name not in response.headers:
                self._tell(request, response, f"{name} is missing")
        self._body(request, response, path, told.get("content", {}))

    def _body(
        self,
        request: web.Request,
        response: web.StreamResponse,
        path: str,
        content: dict[str, Any],
    ) -> None:
        if request.method == hdrs.METH_HEAD or not _has_body(response):
            return
        media_type = response.content_type
        if media_type not in content:
            if "*/*" not in content:
                self._tell(request, response, f"{media_type} is not one of {list(content)}")
            return
        if "schema" not in content[media_type] or not isinstance(response, web.Response):
            return
        assert isinstance(response.body, bytes)
        validator = _validator(path, request.method, response.status, media_type)
        for error in validator.iter_errors(orjson.loads(response.body)):
            self._tell(request, response, f"{error.json_path}: {error.message}")

    def _problem_of_no_route(self, response: web.StreamResponse) -> None:
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        body = orjson.loads(response.body)
        if response.content_type != PROBLEM or body["code"] != _OF_NO_ROUTE[response.status]:
            self.wrong.append(f"no route, but {response.status} {body}")

    def _tell(self, request: web.Request, response: web.StreamResponse, what: str) -> None:
        self.wrong.append(f"{request.method} {route_of(request)} {response.status}: {what}")


def _methods(path: str) -> set[str]:
    return {method.upper() for method in DOCUMENT["paths"].get(path, ())}


def _has_body(response: web.StreamResponse) -> bool:
    if response.status in (204, 304):
        return False
    if isinstance(response, web.Response):
        return response.body is not None
    return response.content_length != 0
