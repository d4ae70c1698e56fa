"""Every route of the table, with every kind of key that must not open it."""

from __future__ import annotations

import asyncio
import dataclasses
import string
from datetime import UTC, datetime, timedelta

import pytest

from service.model.api_key import Scope
from service.model.ids import KeyId
from service.protocol.api_tokens import parse_token
from service.web.route import Route
from service.web.routes import ROUTES
from tests.web.serving import Service

OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/{file}"}
GUARDED = [route for route in ROUTES if route.scope is not None]
IN_A_BUCKET = [route for route in GUARDED if "{bucket}" in route.path]
OF_A_KEY = [route for route in GUARDED if "{key}" in route.path]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def path(route: Route) -> str:
    values = {"bucket": "films", "key": "a/b.txt", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    wanted = {field for _, field, _, _ in string.Formatter().parse(route.path) if field}
    return route.path.format(**{field: values[field] for field in wanted})


async def refused(service: Service, route: Route, key: str | None, status: int, code: str) -> None:
    async with service.fetch(route.method, path(route), key=key) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == code
        if status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_only_operations_are_open_to_everybody() -> None:
    """OPTIONS tell what the service can do, and no preflight carries a key."""
    is_open = [route for route in ROUTES if route.scope is None]
    assert {route.path for route in is_open if route.method != "OPTIONS"} == OPEN


async def test_nothing_is_served_that_is_not_in_the_table(service: Service) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in service.app.router.routes()
        if route.resource
    }
    table = {(route.method, route.path) for route in ROUTES}
    table |= {("HEAD", route.path) for route in ROUTES if route.method == "GET"}
    assert served == table


@pytest.mark.parametrize("route", GUARDED, ids=name)
@pytest.mark.parametrize(
    "key",
    [None, "garbage", "mg_", "mg_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "a" * 43, "é"],
    ids=["no key", "garbage", "half a token", "unknown key", "not ASCII"],
)
async def test_without_a_key_that_counts_it_is_401(
    service: Service, route: Route, key: str | None
) -> None:
    await refused(service, route, key, 401, "unauthenticated")


@pytest.mark.parametrize("route", GUARDED, ids=name)
async def test_a_wrong_secret_is_401(service: Service, route: Route) -> None:
    good = await service.make_key(*Scope)
    await refused(
        service, route, good[:-1] + ("A" if good[-1] != "A" else "B"), 401, "unauthenticated"
    )


@pytest.mark.parametrize("route", GUARDED, ids=name)
async def test_an_expired_key_is_401(service: Service, route: Route) -> None:
    token = await service.make_key(*Scope)
    parsed = parse_token(token)
    assert parsed
    key = service.metadata.keys.keys[parsed.key_id]
    past = datetime.now(UTC) - timedelta(seconds=1)
    service.metadata.keys.keys[parsed.key_id] = dataclasses.replace(key, expires_at=past)
    await refused(service, route, token, 401, "unauthenticated")


@pytest.mark.parametrize("route", GUARDED, ids=name)
async def test_a_revoked_key_is_401_at_once(service: Service, route: Route) -> None:
    token = await service.make_key(*Scope)
    async with service.fetch("GET", "/v1/buckets", key=token) as response:
        assert response.status == 200  # it is in the cache now
    parsed = parse_token(token)
    assert parsed
    async with service.fetch("DELETE", f"/v1/keys/{parsed.key_id}") as response:
        assert response.status == 204
    await refused(service, route, token, 401, "unauthenticated")


@pytest.mark.parametrize("route", GUARDED, ids=name)
async def test_every_other_scope_is_403(service: Service, route: Route) -> None:
    others = set(Scope) - {route.scope}
    await refused(service, route, await service.make_key(*others), 403, "forbidden")


@pytest.mark.parametrize("route", IN_A_BUCKET, ids=name)
async def test_another_bucket_is_403(service: Service, route: Route) -> None:
    key = await service.make_key(*Scope, buckets=("music",))
    await refused(service, route, key, 403, "forbidden")


@pytest.mark.parametrize("route", OF_A_KEY, ids=name)
async def test_another_prefix_is_403(service: Service, route: Route) -> None:
    key = await service.make_key(*Scope, prefixes=("b/",))
    await refused(service, route, key, 403, "forbidden")


@pytest.mark.parametrize("route", IN_A_BUCKET, ids=name)
async def test_another_tenant_finds_nothing(service: Service, bucket: str, route: Route) -> None:
    token = await service.make_key(*Scope)
    parsed = parse_token(token)
    assert parsed
    key = service.metadata.keys.keys[parsed.key_id]
    service.metadata.keys.keys[parsed.key_id] = dataclasses.replace(key, tenant="other")
    async with service.fetch(route.method, path(route), key=token) as response:
        if (route.method, route.path) == ("PUT", "/v1/buckets/{bucket}"):
            assert response.status == 201  # a bucket of its own by that name
        else:
            assert response.status in (400, 404, 415)


async def test_a_key_revoked_elsewhere_is_refused_within_a_second(service: Service) -> None:
    token = await service.make_key(*Scope)
    async with service.fetch("GET", "/v1/buckets", key=token) as response:
        assert response.status == 200
    parsed = parse_token(token)
    assert parsed
    key = service.metadata.keys.keys[parsed.key_id]
    service.metadata.keys.keys[KeyId(parsed.key_id)] = dataclasses.replace(
        key, revoked_at=datetime.now(UTC)
    )
    await asyncio.sleep(1.05)
    async with service.fetch("GET", "/v1/buckets", key=token) as response:
        assert response.status == 401


async def test_two_authorization_fields_are_none(service: Service) -> None:
    headers = [("Authorization", "Bearer x"), ("Authorization", "Bearer y")]
    async with service.session.get(service.url + "/v1/buckets", headers=headers) as response:
        assert response.status == 401


async def test_a_limited_administrator_makes_no_keys(service: Service) -> None:
    key = await service.make_key(*Scope, buckets=("films",))
    body = {"name": "x", "scopes": ["admin"]}
    async with service.fetch("POST", "/v1/keys", key=key, json=body) as response:
        assert response.status == 403
