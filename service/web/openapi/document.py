"""The document as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from service.web.describe import Operation
from service.web.openapi.answers import COMPONENT_HEADERS, PROBLEM, answers_of
from service.web.openapi.bodies import body_of
from service.web.openapi.parameters import parameters_of
from service.web.openapi.schemas import Schemas
from service.web.route import Route

_DESCRIPTION = """\
Every answer has an `X-Request-Id`, every error is `application/problem+json` (RFC 9457) with a
stable `code`. A query parameter that an operation does not know is refused. Keys of objects may
have slashes, as they are or as `%2F`. `X-Meta-Title` stands for any `X-Meta-<name>`. Beside what an
operation lists, any request may be told 405 (with `Allow`), 417 (another `Expect` than
`100-continue`), 501 or 505.
"""
_OUTSIDE = "service"
_SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "mg_<id>_<secret>",
        "description": "An API key; an operation names the scope that it needs.",
    }
}


def build(routes: Iterable[Route], public_url: str | None) -> dict[str, Any]:
    """The document of all described routes. public_url: None for wherever it is read."""
    described = [(route, route.operation) for route in routes if route.operation is not None]
    schemas = Schemas(operation for _, operation in described)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in described:
        for method in route.methods:
            paths.setdefault(route.path, {})[method.lower()] = _operation(
                method, route, operation, schemas
            )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mediagate",
            "summary": "Files of any size over HTTP, in S3, with their metadata beside them.",
            "description": _DESCRIPTION,
            "version": version("mediagate"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url.rstrip("/") if public_url else "/"}],
        "tags": [{"name": name} for name in _tags(paths)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**schemas.components, "Problem": PROBLEM}.items())),
            "headers": COMPONENT_HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _operation(method: str, route: Route, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    is_head = method == "HEAD"
    body = body_of(operation, schemas)
    told: dict[str, Any] = {
        "operationId": _head_name(operation.name) if is_head else operation.name,
        "summary": f"The head of: {operation.summary}" if is_head else operation.summary,
        "tags": [_tag(route.path)],
        "parameters": parameters_of(route.path, operation, schemas),
        "responses": answers_of(
            method,
            route.path,
            guarded=route.scope is not None,
            operation=operation,
            schemas=schemas,
        ),
        "security": [{"key": [str(route.scope)]}] if route.scope else [],
    }
    if body is not None:
        told["requestBody"] = body
    return told


def _head_name(name: str) -> str:
    return "head_" + name.removeprefix("get_")


def _tags(paths: Iterable[str]) -> list[str]:
    """As the table has them, what is outside `/v1` last."""
    return sorted(dict.fromkeys(map(_tag, paths)), key=lambda name: name == _OUTSIDE)


def _tag(path: str) -> str:
    """`/v1/buckets/{bucket}/objects/{key}` -> `objects`; what is outside `/v1` is `service`."""
    steps = [step for step in path.split("/") if step and not step.startswith("{")]
    return steps[-1] if steps[0] == "v1" else _OUTSIDE
