"""Who may do what; buckets, problems and operations from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import Installation, Process


async def make_key(http: ClientSession, **wanted: Any) -> tuple[str, dict[str, str]]:
    """A key's id, and the header that shows it."""
    async with http.post("/v1/keys", json={"name": "e2e"} | wanted) as response:
        assert response.status == 201, await response.text()
        made = await response.json()
    return made["id"], {"Authorization": f"Bearer {made['token']}"}


async def test_no_key_or_a_wrong_one_is_401(service: Process, bucket: str) -> None:
    async with ClientSession(service.url) as nobody:
        for key in (None, "Bearer mg_01ARZ3NDEKTSV4RRFFQ69G5FAV_xyz", "Basic eDp5", "Bearer "):
            headers = {"Authorization": key} if key else {}
            async with nobody.put(f"{bucket}/objects/a", data=b"x", headers=headers) as response:
                assert response.status == 401
                assert "Bearer" in response.headers["WWW-Authenticate"]
                assert (await response.json(content_type=None))["code"] == "unauthenticated"


async def test_scopes_buckets_and_prefixes_limit_a_key(http: ClientSession, bucket: str) -> None:
    name = bucket.rpartition("/")[2]
    _, reader = await make_key(http, scopes=["read"], buckets=[name], prefixes=["pub/"])
    _, writer = await make_key(http, scopes=["write"], buckets=[name], prefixes=["pub/"])
    for key, headers, status in (
        ("pub/a", writer, 201),
        ("priv/a", writer, 403),
        ("pub/b", reader, 403),
    ):
        async with http.put(f"{bucket}/objects/{key}", data=b"x", headers=headers) as response:
            assert response.status == status
    for key, headers, status in (
        ("pub/a", reader, 200),
        ("priv/a", reader, 403),
        ("pub/a", writer, 403),
    ):
        async with http.get(f"{bucket}/objects/{key}", headers=headers) as response:
            assert response.status == status
    async with http.put("/v1/buckets/other-bucket"):
        pass
    async with http.get("/v1/buckets/other-bucket/objects/pub/a", headers=reader) as response:
        assert response.status == 403


async def test_revoked_key_is_refused_at_once(http: ClientSession, bucket: str) -> None:
    key_id, headers = await make_key(http, scopes=["list"])
    async with http.get(f"{bucket}/objects", headers=headers) as response:
        assert response.status == 200
    async with http.delete(f"/v1/keys/{key_id}") as response:
        assert response.status == 204
    async with http.get(f"{bucket}/objects", headers=headers) as response:
        assert response.status == 401


async def test_key_from_the_command_line_works_and_another_tenant_sees_nothing(
    http: ClientSession, installation: Installation, bucket: str
) -> None:
    async with http.put(f"{bucket}/objects/a", data=b"x"):
        pass
    tokens = await asyncio.gather(
        asyncio.to_thread(installation.run, "key", "create", "--scope", "read"),
        asyncio.to_thread(installation.run, "key", "create", "--tenant", "rival"),
    )
    for told, status in zip(tokens, (200, 404), strict=True):
        headers = {"Authorization": f"Bearer {told.stdout.strip()}"}
        async with http.get(f"{bucket}/objects/a", headers=headers) as response:
            assert response.status == status


async def test_bucket_goes_only_when_it_is_empty(http: ClientSession, bucket: str) -> None:
    async with http.put(f"{bucket}/objects/a", data=b"x"):
        pass
    async with http.delete(bucket) as response:
        assert response.status == 409
        assert (await response.json(content_type=None))["code"] == "bucket_not_empty"
    async with http.delete(f"{bucket}/objects/a"):
        pass
    async with http.delete(bucket) as response:
        assert response.status == 204
    async with http.put(f"{bucket}/objects/a", data=b"x") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/buckets/abc/objects/a", 405, "method_not_allowed"),
        ("GET", "/v1/buckets/none-such/objects/a", 404, "bucket_not_found"),
        ("PUT", "/v1/buckets/none-such/objects/a", 404, "bucket_not_found"),
        ("PUT", "/v1/buckets/Bad_Name", 400, "invalid_bucket_name"),
        ("GET", "/v1/buckets/abc/objects/a%2F..%2Fb", 400, "invalid_key"),
        ("GET", "/v1/buckets/abc/objects/a%00b", 400, "invalid_key"),
        ("GET", "/v1/buckets/abc/objects/%C0%AF", 400, "invalid_key"),
        ("GET", "/v1/buckets/abc/objects/a//b", 400, "invalid_key"),
    ],
)
async def test_every_error_is_a_problem(
    http: ClientSession, method: str, path: str, status: int, code: str
) -> None:
    from yarl import URL

    url = URL(str(http._base_url).rstrip("/") + path, encoded=True)
    async with http.request(method, url, headers={"X-Request-Id": "mine-1"}) as response:
        told = await response.json(content_type="application/problem+json")
        assert (response.status, told["status"], told["code"]) == (status, status, code)
        assert response.headers["X-Request-Id"] == told["request_id"] == "mine-1"


async def test_health_readiness_and_metrics(service: Process, installation: Installation) -> None:
    async with ClientSession(service.url) as nobody:
        for path in ("/healthz", "/readyz"):
            async with nobody.get(path) as response:
                assert response.status == 200
        async with nobody.get("/metrics") as response:
            text = await response.text()
    assert "mediagate_received_bytes_total" in text
    assert 'route="/v1/buckets/{bucket}/objects/{key}"' in text
    told = await asyncio.to_thread(installation.run, "health", "--port", str(service.port))
    assert told.returncode == 0
