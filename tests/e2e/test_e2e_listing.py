"""Walks through listings while objects come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import ClientSession

FOLDERS, FILES = 6, 15


@pytest.fixture
async def filled(http: ClientSession, bucket: str) -> tuple[str, list[str]]:
    """A bucket and its keys: folders, one file beside them, names beyond ASCII."""
    keys = [f"f{folder}/é{file:02}" for folder in range(FOLDERS) for file in range(FILES)]
    keys += ["f3.txt", "f3/", "z"]
    keys.remove("f3/")
    await put_all(http, bucket, keys)
    return bucket, keys


async def put_all(http: ClientSession, bucket: str, keys: list[str]) -> None:
    gate = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with gate, http.put(f"{bucket}/objects/{key}", data=key.encode()) as response:
            assert response.status in (200, 201)

    await asyncio.gather(*(put(key) for key in keys))


async def walk(
    http: ClientSession, bucket: str, *, churn: bool = False, **query: Any
) -> tuple[list[str], list[str]]:
    """All keys and all prefixes, by the Link header; churn: others come and go between pages."""
    keys: list[str] = []
    prefixes: list[str] = []
    url: Any = f"{bucket}/objects"
    params: Any = query
    for page in range(200):
        async with http.get(url, params=params) as response:
            assert response.status == 200, await response.text()
            told = await response.json()
            link = response.links.get("next", {}).get("url")
        assert len(told["items"]) + len(told["prefixes"]) <= query.get("limit", 100)
        keys += [item["key"] for item in told["items"]]
        prefixes += told["prefixes"]
        assert (link is None) == (told["next"] is None)
        if link is None:
            return keys, prefixes
        url, params = link, None
        if churn:
            await put_all(http, bucket, [f"f{page % FOLDERS}/churn{page}"])
            async with http.delete(f"{bucket}/objects/f{(page - 1) % FOLDERS}/churn{page - 1}"):
                pass
    raise AssertionError("the walk does not end")


async def test_walk_meets_each_key_once_in_order(
    http: ClientSession, filled: tuple[str, list[str]]
) -> None:
    bucket, keys = filled
    for limit in (7, 1000):
        found, prefixes = await walk(http, bucket, limit=limit)
        assert found == sorted(keys, key=str.encode)
        assert prefixes == []


async def test_walk_with_others_coming_and_going(
    http: ClientSession, filled: tuple[str, list[str]]
) -> None:
    bucket, keys = filled
    found, _ = await walk(http, bucket, limit=7, churn=True)
    counts = Counter(found)
    assert max(counts.values()) == 1
    assert {key for key in found if "churn" not in key} == set(keys)
    assert found == sorted(found, key=str.encode)


async def test_walk_of_a_prefix(http: ClientSession, filled: tuple[str, list[str]]) -> None:
    bucket, keys = filled
    found, _ = await walk(http, bucket, prefix="f2/é0", limit=3)
    assert found == sorted(key for key in keys if key.startswith("f2/é0"))


async def test_walk_of_folders(http: ClientSession, filled: tuple[str, list[str]]) -> None:
    bucket, _ = filled
    for limit in (2, 100):
        found, prefixes = await walk(http, bucket, delimiter="/", limit=limit)
        assert found == ["f3.txt", "z"]
        assert prefixes == [f"f{folder}/" for folder in range(FOLDERS)]
    found, prefixes = await walk(http, bucket, delimiter="/", prefix="f1/", limit=7)
    assert len(found) == FILES
    assert prefixes == []


async def test_bad_questions_are_400(http: ClientSession, bucket: str) -> None:
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=nonsense", "nonsense=1"):
        async with http.get(f"{bucket}/objects?{query}") as response:
            assert response.status == 400, query


async def test_listing_of_a_bucket_that_is_not_there(http: ClientSession) -> None:
    async with http.get("/v1/buckets/none-such/objects") as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["code"] == "bucket_not_found"


async def test_a_search_finds_by_facts_of_the_upload_and_loses_what_is_overwritten(
    http: ClientSession, bucket: str
):
    headers = {"X-Tags": "who=family", "X-Meta-Title": "UTF-8''Caf%C3%A9%20noir"}
    objects = f"{bucket}/objects"
    for key in ("a/one.txt", "a/two.txt", "b/three.txt"):
        async with http.put(f"{objects}/{key}", data=key.encode(), headers=headers) as response:
            assert response.status == 201
    async with http.put(f"{objects}/a/two.txt", data=b"", headers={"X-Tags": "who=me"}) as response:
        assert response.status == 200
    searches: tuple[tuple[dict[str, Any], list[str]], ...] = (
        ({"q": "cafe NO"}, ["a/one.txt", "b/three.txt"]),
        ({"q": "t"}, ["a/one.txt", "a/two.txt", "b/three.txt"]),
        ({"tag.who": "family", "sort": "-created"}, ["b/three.txt", "a/one.txt"]),
        ({"tag.who": "me"}, ["a/two.txt"]),
        ({"meta.title": "Café noir", "prefix": "b/"}, ["b/three.txt"]),
        ({"size_max": 0}, ["a/two.txt"]),
        ({"sort": "-size", "type": "application/*"}, ["b/three.txt", "a/one.txt", "a/two.txt"]),
    )
    for query, found in searches:
        assert await walk(http, bucket, limit=1, **query) == (found, []), query
    async with http.get(objects, params={"q": "a", "delimiter": "/"}) as response:
        assert response.status == 400
