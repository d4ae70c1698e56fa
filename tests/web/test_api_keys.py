"""API keys over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.serving import Service

BODY: dict[str, Any] = {"name": "reader", "scopes": ["read", "list"]}


async def test_a_key_is_shown_once_and_works(service: Service, bucket: str) -> None:
    body = {**BODY, "buckets": [bucket], "prefixes": ["a/"], "expires_at": "2999-01-01T00:00:00Z"}
    async with service.fetch("POST", "/v1/keys", json=body) as response:
        assert response.status == 201
        made = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
    token = made.pop("token")
    assert made["scopes"] == ["list", "read"]
    assert made["expires_at"] == "2999-01-01T00:00:00.000Z"
    async with service.fetch("GET", "/v1/buckets", key=token) as response:
        assert response.status == 200
    async with service.fetch("GET", "/v1/keys") as response:
        text = await response.text()
        assert (await response.json())["items"] == [made]
    assert token not in text
    assert token.rpartition("_")[2] not in text


async def test_a_revoked_key_stays_in_the_list(service: Service) -> None:
    async with service.fetch("POST", "/v1/keys", json=BODY) as response:
        made = await response.json()
    for _ in range(2):
        async with service.fetch("DELETE", f"/v1/keys/{made['id']}") as response:
            assert response.status == 204
    async with service.fetch("GET", "/v1/keys") as response:
        assert (await response.json())["items"][0]["revoked_at"] is not None


async def test_an_unknown_key_is_404(service: Service) -> None:
    async with service.fetch("DELETE", "/v1/keys/01ARZ3NDEKTSV4RRFFQ69G5FAV") as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (404, "key_not_found")


async def test_keys_are_listed_in_pages(service: Service) -> None:
    for number in range(3):
        async with service.fetch("POST", "/v1/keys", json={**BODY, "name": str(number)}):
            pass
    async with service.fetch("GET", "/v1/keys?limit=2") as response:
        first = await response.json()
    async with service.fetch("GET", f"/v1/keys?limit=2&cursor={first['next']}") as response:
        second = await response.json()
    assert len({item["id"] for item in first["items"] + second["items"]}) == 3
    assert second["next"] is None


async def test_a_cursor_of_another_listing_is_400(service: Service, bucket: str) -> None:
    for name in ("one", "two"):
        async with service.fetch("PUT", f"/v1/buckets/{name}-x"):
            pass
    async with service.fetch("GET", "/v1/buckets?limit=1") as response:
        cursor = (await response.json())["next"]
    async with service.fetch("GET", f"/v1/keys?cursor={cursor}") as response:
        assert (await response.json(content_type=None))["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": {"$ne": None}},
        {"name": "a\r\nb"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"buckets": ["No"]},
        {"buckets": {"$ne": None}},
        {"prefixes": [""]},
        {"prefixes": ["a\u0000"]},
        {"expires_at": "2999-01-01T00:00:00"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"expires_at": {"$gt": ""}},
        {"tenant": "other"},
        {"id": "x"},
    ],
    ids=str,
)
async def test_a_wrong_key_is_400_and_nothing_is_made(
    service: Service, change: dict[str, Any]
) -> None:
    async with service.fetch("POST", "/v1/keys", json={**BODY, **change}) as response:
        assert response.status == 400
    async with service.fetch("GET", "/v1/keys") as response:
        assert (await response.json())["items"] == []
