"""The API document is valid, whole, and says nothing that there is not."""

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service import errors
from service.errors import MediagateError
from service.protocol import tus
from service.settings import Http
from service.web.openapi.document import build
from service.web.routes import ROUTES
from tests.web.conformance import DOCUMENT

TABLE = {(method, route.path) for route in ROUTES for method in route.methods}
OPERATIONS = {
    (method.upper(), path): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


def codes_of(answer):
    for content in answer.get("content", {}).values():
        for part in content.get("schema", {}).get("allOf", ()):
            yield from part.get("properties", {}).get("code", {}).get("enum", ())


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_valid():
    assert not list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors())


def test_every_route_is_in_it_and_nothing_else():
    assert set(OPERATIONS) == TABLE
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_every_component_is_used():
    used = set(references(DOCUMENT))
    there = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert there <= used


def test_every_code_in_it_exists():
    known = {kind.code for kind in (*vars(errors).values(), *vars(tus).values()) if is_error(kind)}
    for operation in OPERATIONS.values():
        for answer in operation["responses"].values():
            assert set(codes_of(answer)) <= known


def is_error(kind):
    return isinstance(kind, type) and issubclass(kind, MediagateError)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_scope_and_refusals_are_told(route):
    operation = OPERATIONS[route.method, route.path]
    assert operation["security"] == ([{"key": [str(route.scope)]}] if route.scope else [])
    assert bool(route.scope) == ({"401", "403", "503"} <= set(operation["responses"]))
    assert ("invalid_key" in codes_of(operation["responses"]["400"])) >= ("{key}" in route.path)


def test_bounds_of_the_query_are_in_it():
    told = {item["name"]: item for item in OPERATIONS["GET", "/v1/keys"]["parameters"]}
    assert told["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 100,
    }
    assert told["cursor"]["schema"] == {"type": "string"}


async def test_it_is_served_as_it_is_built_and_kept_by_its_tag(service):
    async with service.fetch("GET", "/openapi.json", key=None) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == DOCUMENT
        etag = response.headers["ETag"]
    async with service.fetch("GET", "/openapi.json", headers={"If-None-Match": etag}) as again:
        assert again.status == 304
        assert again.headers["ETag"] == etag


def test_the_public_url_is_its_server():
    assert build(ROUTES, "https://files.example/api/")["servers"] == [
        {"url": "https://files.example/api"}
    ]


async def test_a_service_with_a_public_url_tells_it(start):
    async with (
        start(http=Http(public_url="https://files.example")) as service,
        service.fetch("GET", "/openapi.json") as answer,
    ):
        assert (await answer.json())["servers"] == [{"url": "https://files.example"}]
