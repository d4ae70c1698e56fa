"""Buckets over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.model.api_key import Scope
from tests.web.serving import Service


async def put(service: Service, name: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    async with service.fetch("PUT", f"/v1/buckets/{name}", json=body or {}) as response:
        return response.status, await response.json(content_type=None)


async def test_a_bucket_is_made_with_its_settings(service: Service) -> None:
    settings = {
        "max_object_size_bytes": 10,
        "allowed_content_types": ["image/*", "Text/Plain"],
        "cache_control": "max-age=60",
    }
    async with service.fetch("PUT", "/v1/buckets/films", json=settings) as response:
        made = await response.json()
        assert response.status == 201
        assert response.headers["Location"] == f"{service.url}/v1/buckets/films"
        etag = response.headers["ETag"]
    assert made["allowed_content_types"] == ["image/*", "text/plain"]
    assert made["created_at"].endswith("Z")
    assert len(made["created_at"]) == len("2026-01-02T03:04:05.678Z")
    async with service.fetch("GET", "/v1/buckets/films") as response:
        assert await response.json() == made
        assert response.headers["ETag"] == etag


async def test_an_empty_body_means_the_defaults(service: Service) -> None:
    async with service.fetch("PUT", "/v1/buckets/films") as response:
        assert response.status == 201
        assert (await response.json())["allowed_content_types"] == []


async def test_the_same_bucket_again_is_200_and_another_409(service: Service) -> None:
    first = await put(service, "films", {"cache_control": "no-cache"})
    assert await put(service, "films", {"cache_control": "no-cache"}) == (200, first[1])
    status, problem = await put(service, "films", {"cache_control": "max-age=1"})
    assert (status, problem["code"]) == (409, "bucket_exists")


async def test_patch_changes_what_it_names_and_null_brings_the_default_back(
    service: Service,
) -> None:
    await put(service, "films", {"cache_control": "no-cache", "allowed_content_types": ["a/b"]})
    body = {"allowed_content_types": None, "max_object_size_bytes": 5}
    async with service.fetch("PATCH", "/v1/buckets/films", json=body) as response:
        changed = await response.json()
    assert changed["cache_control"] == "no-cache"
    assert changed["allowed_content_types"] == []
    assert changed["max_object_size_bytes"] == 5
    assert changed["revision"] == 2


async def test_patch_with_a_stale_etag_is_412_and_changes_nothing(service: Service) -> None:
    await put(service, "films")
    async with service.fetch("GET", "/v1/buckets/films") as response:
        etag = response.headers["ETag"]
    for status in (200, 412):
        async with service.fetch(
            "PATCH",
            "/v1/buckets/films",
            data=json.dumps({"max_object_size_bytes": status}),
            headers={"If-Match": etag, "Content-Type": "application/merge-patch+json"},
        ) as response:
            assert response.status == status
    async with service.fetch("GET", "/v1/buckets/films") as response:
        assert (await response.json())["max_object_size_bytes"] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"max_object_size_bytes": {"$ne": null}}', "max_object_size_bytes"),
        ('{"max_object_size_bytes": "5"}', "max_object_size_bytes"),
        ('{"max_object_size_bytes": true}', "max_object_size_bytes"),
        ('{"max_object_size_bytes": -1}', "max_object_size_bytes"),
        ('{"max_object_size_bytes": 9223372036854775808}', "max_object_size_bytes"),
        ('{"cache_control": {"$ne": null}}', "cache_control"),
        ('{"cache_control": "a\\r\\nSet-Cookie: b"}', "cache_control"),
        ('{"cache_control": "a\\n"}', "cache_control"),
        ('{"allowed_content_types": "image/png"}', "allowed_content_types"),
        ('{"allowed_content_types": [{"$gt": ""}]}', "allowed_content_types.0"),
        ('{"allowed_content_types": ["*"]}', "allowed_content_types.0"),
        ('{"delivery": "teleport"}', "delivery"),
        ('{"delivery": {"$ne": "proxy"}}', "delivery"),
        ('{"public": true}', "public"),
        ("[]", ""),
        ("null", ""),
        ("{", ""),
        ("", ""),
    ],
)
async def test_a_body_that_is_wrong_is_400_and_says_where(
    service: Service, bucket: str, body: str, field: str
) -> None:
    async with service.fetch(
        "PATCH",
        f"/v1/buckets/{bucket}",
        data=body.encode(),
        headers={"Content-Type": "application/json"},
    ) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (400, "invalid")
        assert problem["errors"][0]["field"] == field


async def test_another_content_type_is_415(service: Service, bucket: str) -> None:
    async with service.fetch("PATCH", f"/v1/buckets/{bucket}", data=b"a=b") as response:
        assert response.status == 415


async def test_the_list_is_walked_by_cursor_and_link(service: Service) -> None:
    names = [f"bucket-{number:02}" for number in range(7)]
    for name in names:
        await put(service, name)
    path, seen = "/v1/buckets?limit=3", []
    while path:
        async with service.fetch("GET", path) as response:
            page = await response.json()
            seen += [item["name"] for item in page["items"]]
            assert len(page["items"]) <= 3
            following = response.links.get("next")
            assert bool(following) == bool(page["next"])
            path = following["url"].raw_path_qs if following else ""
    assert seen == names


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=٣", "cursor=zz"])
async def test_a_bad_page_is_400(service: Service, query: str) -> None:
    async with service.fetch("GET", f"/v1/buckets?{query}") as response:
        assert response.status == 400


async def test_a_limited_key_sees_only_its_buckets(service: Service) -> None:
    for name in ("one", "two", "three"):
        await put(service, name)
    key = await service.make_key(Scope.LIST, buckets=("two", "one", "absent"))
    async with service.fetch("GET", "/v1/buckets?limit=2", key=key) as response:
        page = await response.json()
    assert [item["name"] for item in page["items"]] == ["one"]
    async with service.fetch("GET", f"/v1/buckets?cursor={page['next']}", key=key) as response:
        page = await response.json()
    assert [item["name"] for item in page["items"]] == ["two"]
    assert page["next"] is None


async def test_delete_is_204_and_then_404(service: Service, bucket: str) -> None:
    for status in (204, 404):
        async with service.fetch("DELETE", f"/v1/buckets/{bucket}") as response:
            assert response.status == status


async def test_an_unknown_bucket_is_404(service: Service) -> None:
    for method, body in (("GET", None), ("PATCH", {"cache_control": "x"}), ("DELETE", None)):
        async with service.fetch(method, "/v1/buckets/nothing", json=body) as response:
            problem = await response.json(content_type=None)
            assert (response.status, problem["code"]) == (404, "bucket_not_found")
