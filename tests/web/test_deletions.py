"""Many keys deleted by one request, over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.model.api_key import Scope
from service.model.ids import DEFAULT_TENANT
from tests.web.serving import ROOT_KEY, Service
from tests.web.test_listing import store

DELETIONS = "/v1/buckets/films/deletions"
AUTHORIZED = {"Authorization": f"Bearer {ROOT_KEY}"}
JSON = {"Content-Type": "application/json"}


async def delete(service: Service, body: Any, status: int = 200, **kwargs: Any) -> dict[str, Any]:
    path = kwargs.pop("path", DELETIONS)
    sent = io.BytesIO(json.dumps(body).encode())
    async with service.fetch("POST", path, data=sent, headers=JSON, **kwargs) as response:
        told: dict[str, Any] = await response.json(content_type=None)
        assert response.status == status, told
        return told


async def left(service: Service) -> list[str]:
    async with service.fetch("GET", "/v1/buckets/films/objects?limit=1000") as response:
        return [item["key"] for item in (await response.json())["items"]]


async def test_each_key_has_its_outcome_in_the_order_asked(service: Service, bucket: str) -> None:
    for key in ("a", "b/ä", "c", "kept"):
        await store(service, key)
    told = await delete(service, {"keys": ["c", "none", "b/ä", "c", "a"]})
    assert [(each["key"], each["status"], each["problem"]) for each in told["results"]] == [
        ("c", "deleted", None),
        ("none", "absent", None),
        ("b/ä", "deleted", None),
        ("a", "deleted", None),
    ]
    assert await left(service) == ["kept"]
    told = await delete(service, {"keys": ["a", "c"]})
    assert {each["status"] for each in told["results"]} == {"absent"}


async def test_a_thousand_long_keys_fit_and_one_more_does_not(
    service: Service, bucket: str
) -> None:
    keys = [f"{number:04}/" + "é" * 509 for number in range(1000)]
    assert len(keys[0].encode()) == 1023
    await store(service, keys[0])
    await store(service, keys[999])
    told = await delete(service, {"keys": keys})
    assert [each["key"] for each in told["results"]] == keys
    assert [each["status"] for each in told["results"]].count("deleted") == 2
    told = await delete(service, {"keys": [*keys, "x"]}, 400)
    assert told["errors"][0]["field"] == "keys"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, ""),
        ({"keys": []}, "keys"),
        ({"keys": "a"}, "keys"),
        ({"keys": ["a", {"$ne": None}]}, "keys.1"),
        ({"keys": ["a", "../x"]}, "keys.1"),
        ({"keys": ["a", ""]}, "keys.1"),
        ({"keys": ["a"], "force": True}, "force"),
    ],
    ids=str,
)
async def test_a_request_that_is_wrong_in_one_place_deletes_nothing(
    service: Service, bucket: str, sent: Any, field: str
) -> None:
    await store(service, "a")
    told = await delete(service, sent, 400)
    assert told["errors"][0]["field"] == field
    assert await left(service) == ["a"]


async def test_a_body_past_the_limit_is_refused(service: Service, bucket: str) -> None:
    body = b'{"keys": ["' + b"x" * (4 << 20) + b'"]}'
    sent = io.BytesIO(body)
    async with service.fetch("POST", DELETIONS, data=sent, headers=JSON) as response:
        assert response.status == 413


async def test_a_key_limited_to_a_prefix_deletes_there_only(service: Service, bucket: str) -> None:
    for key in ("mine/a", "yours/b"):
        await store(service, key)
    limited = await service.make_key(Scope.DELETE, prefixes=("mine/",))
    told = await delete(service, {"keys": ["yours/b", "mine/a", "yours/none"]}, key=limited)
    assert [each["status"] for each in told["results"]] == ["failed", "deleted", "failed"]
    problem = told["results"][0]["problem"]
    assert (problem["status"], problem["code"]) == (403, "forbidden")
    assert problem == told["results"][2]["problem"], "whether it is there is not told"
    assert await left(service) == ["yours/b"]
    reader = await service.make_key(Scope.READ, Scope.WRITE)
    await delete(service, {"keys": ["mine/a"]}, 403, key=reader)
    elsewhere = await service.make_key(Scope.DELETE, buckets=("music",))
    await delete(service, {"keys": ["mine/a"]}, 403, key=elsewhere)


async def test_one_that_fails_is_told_and_the_others_go(
    service: Service, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a", "b", "c"):
        await store(service, key)
    versions = service.metadata.versions
    whole = versions.delete

    async def failing(tenant: Any, bucket: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        if key == "b":
            raise StoreUnavailable("a conflict did not end in time")
        return await whole(tenant, bucket, key, *args, **kwargs)

    monkeypatch.setattr(versions, "delete", failing)
    told = await delete(service, {"keys": ["a", "b", "c"]})
    assert [each["status"] for each in told["results"]] == ["deleted", "failed", "deleted"]
    assert told["results"][1]["problem"]["code"] == "store_unavailable"
    assert await left(service) == ["b"]


async def test_a_bucket_that_keeps_versions_gets_markers(service: Service) -> None:
    async with service.fetch("PUT", "/v1/buckets/films", json={"versioning": True}) as response:
        assert response.status == 201
    made = await store(service, "a")
    told = await delete(service, {"keys": ["a"]})
    assert told["results"][0]["status"] == "deleted"
    assert await left(service) == []
    found = await service.metadata.buckets.get(DEFAULT_TENANT, "films")
    assert found is not None
    assert await service.metadata.versions.get(DEFAULT_TENANT, found.id, "a", made.id)
    assert (await delete(service, {"keys": ["a"]}))["results"][0]["status"] == "absent"


async def test_no_bucket_is_a_404(service: Service) -> None:
    told = await delete(service, {"keys": ["a"]}, 404, path="/v1/buckets/none/deletions")
    assert told["code"] == "bucket_not_found"


async def ended(service: Service, url: str) -> dict[str, Any]:
    for _ in range(200):
        async with service.session.get(url, headers=AUTHORIZED) as response:
            assert response.status == 200
            told: dict[str, Any] = await response.json()
        if told["state"] != "running":
            return told
        await asyncio.sleep(0.01)
    raise AssertionError(told)


async def begin(service: Service, prefix: str, **kwargs: Any) -> str:
    body = {"prefix": prefix}
    async with service.fetch("POST", DELETIONS, json=body, **kwargs) as response:
        told = await response.json()
        assert response.status == 202, told
        assert response.headers["Location"].endswith(f"{DELETIONS}/{told['id']}")
        assert told["prefix"] == prefix
        return response.headers["Location"]


async def test_a_prefix_is_a_job_that_begins_at_once(service: Service, bucket: str) -> None:
    for number in range(300):
        await store(service, f"a/{number}")
    await store(service, "b")
    told = await ended(service, await begin(service, "a/"))
    assert (told["state"], told["deleted"], told["failed"]) == ("done", 300, 0)
    assert await left(service) == ["b"]
    told = await ended(service, await begin(service, ""))
    assert told["deleted"] == 1
    assert await left(service) == []


@pytest.mark.parametrize("sent", [{"prefix": "a", "keys": ["a"]}, {"prefix": None}, {"prefix": 1}])
async def test_half_a_question_deletes_nothing(service: Service, bucket: str, sent: Any) -> None:
    await store(service, "a")
    await delete(service, sent, 400)
    assert await left(service) == ["a"]


async def test_a_job_is_for_those_who_may_delete_there(service: Service, bucket: str) -> None:
    limited = await service.make_key(Scope.DELETE, prefixes=("mine/",))
    await delete(service, {"prefix": ""}, 403, key=limited)
    await delete(service, {"prefix": "min"}, 403, key=limited)
    await ended(service, await begin(service, "mine/x", key=limited))
    url = await begin(service, "yours/")
    for method, status in (("GET", 403), ("DELETE", 403)):
        async with service.fetch(method, url.removeprefix(service.url), key=limited) as response:
            assert response.status == status
    async with service.fetch("GET", DELETIONS + "/none") as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["code"] == "job_not_found"
    async with service.fetch("DELETE", url.removeprefix(service.url)) as response:
        assert response.status == 204
