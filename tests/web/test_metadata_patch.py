"""PATCH of metadata, over a real socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.model.api_key import Scope
from service.settings import S3, Limits
from tests.web.serving import Service, Start
from tests.web.test_listing import store

METADATA, OBJECT = "/v1/buckets/films/metadata/a", "/v1/buckets/films/objects/a"
MERGE_PATCH = "application/merge-patch+json"


async def patch(
    service: Service, body: Any, status: int = 200, path: str = METADATA, **kwargs: Any
) -> tuple[dict[str, Any], Any]:
    async with service.fetch("PATCH", path, json=body, **kwargs) as response:
        told = await response.json(content_type=None)
        assert response.status == status, told
        return told, response.headers


async def head(service: Service, path: str = OBJECT, **headers: str) -> tuple[int, Any]:
    async with service.fetch("HEAD", path, headers=headers) as response:
        return response.status, response.headers


@pytest.fixture
async def made(service: Service, bucket: str) -> Any:
    return await store(
        service,
        "a",
        content_type="video/mp4",
        filename="old.mp4",
        cache_control="no-store",
        user_metadata={"title": "Old", "lang": "de"},
        tags={"a": "1", "b": "2"},
    )


async def test_a_patch_is_merged_and_shows_at_once(service: Service, made: Any) -> None:
    assert (await head(service))[1]["X-Meta-Title"] == "Old"
    sent = {
        "content_type": "video/webm; codecs=vp9",
        "cache_control": None,
        "content_language": "en",
        "filename": "new é.webm",
        "user_metadata": {"title": "Néw", "lang": None, "$set": "{}"},
        "tags": {"b": None, "c.d": "$x"},
    }
    told, headers = await patch(service, sent)
    assert told["content_type"] == "video/webm; codecs=vp9"
    assert told["cache_control"] is None
    assert told["filename"] == "new é.webm"
    assert told["user_metadata"] == {"title": "Néw", "$set": "{}"}
    assert told["tags"] == {"a": "1", "c.d": "$x"}
    assert (told["version"], told["revision"]) == (made.id, 2)
    assert headers["ETag"] == f'"{made.id}.2"'
    status, shown = await head(service)
    assert status == 200
    assert shown["ETag"] == f'"{made.id}"'
    assert shown["Content-Type"] == "video/webm; codecs=vp9"
    assert shown["Content-Language"] == "en"
    assert shown["Cache-Control"] == "private, no-cache"
    assert "new%20%C3%A9.webm" in shown["Content-Disposition"]
    assert shown["X-Meta-Title"] == "UTF-8''N%C3%A9w"
    assert "X-Meta-Lang" not in shown
    assert shown["X-Tags"] == "a=1&c.d=%24x"
    assert shown["Last-Modified"] == headers["Last-Modified"]
    async with service.fetch("GET", METADATA) as response:
        assert await response.json() == told
    async with service.fetch("GET", "/v1/buckets/films/objects?prefix=a") as response:
        assert (await response.json())["items"] == [told]


async def test_null_resets_whole_mappings_and_the_type(service: Service, made: Any) -> None:
    told, _ = await patch(service, {"user_metadata": None, "tags": None, "content_type": None})
    assert (told["user_metadata"], told["tags"]) == ({}, {})
    assert told["content_type"] == "application/octet-stream"
    assert told["filename"] == "old.mp4"


async def test_a_patch_of_nothing_makes_no_revision(service: Service, made: Any) -> None:
    for sent in (
        {},
        {"tags": {}},
        {"tags": {"a": "1"}, "filename": "old.mp4"},
        {"tags": {"z": None}},
    ):
        told, headers = await patch(service, sent)
        assert (told["revision"], headers["ETag"]) == (1, f'"{made.id}.1"')


async def test_conditions_are_those_of_the_metadata(service: Service, made: Any) -> None:
    sent = {"tags": {"a": "2"}}
    for wrong in (f'"{made.id}"', f'"{made.id}.2"', 'W/"x"'):
        told, _ = await patch(service, sent, 412, headers={"If-Match": wrong})
        assert told["code"] == "precondition_failed"
    none_match = {"If-None-Match": f'"{made.id}.1"'}
    await patch(service, sent, 412, headers=none_match)
    long_ago = {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}
    await patch(service, sent, 412, headers=long_ago)
    _, headers = await patch(service, sent, headers={"If-Match": f'"{made.id}.1"'})
    await patch(service, sent, 412, headers={"If-Match": f'"{made.id}.1"'})
    await patch(service, {"tags": {"a": "3"}}, headers={"If-Match": headers["ETag"]})
    status, _ = await head(service, **{"If-None-Match": f'"{made.id}"'})
    assert status == 304, "the content is the same"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"size_bytes": 1}, "size_bytes"),
        ({"sniffed_type": "text/html"}, "sniffed_type"),
        ({"content_type": "video"}, "content_type"),
        ({"content_type": "video/mp4\r\nX: 1"}, "content_type"),
        ({"content_type": {"$ne": None}}, "content_type"),
        ({"cache_control": "a\nb"}, "cache_control"),
        ({"cache_control": ""}, "cache_control"),
        ({"content_language": "é"}, "content_language"),
        ({"filename": "../x"}, "filename"),
        ({"filename": "a\u202eb"}, "filename"),
        ({"filename": "é" * 200}, "filename"),
        ({"user_metadata": {"Title": "x"}}, "user_metadata.Title"),
        ({"user_metadata": {"a b": "x"}}, "user_metadata.a b"),
        ({"user_metadata": {"": "x"}}, "user_metadata."),
        ({"user_metadata": {"a": 1}}, "user_metadata.a"),
        ({"user_metadata": {"a": "\x00"}}, "user_metadata.a"),
        ({"user_metadata": {"a": "x" * 16384}}, "user_metadata"),
        ({"user_metadata": []}, "user_metadata"),
        ({"tags": {"": "x"}}, "tags."),
        ({"tags": {"a": "x" * 257}}, "tags.a"),
        ({"tags": {"t" * 129: "x"}}, "tags." + "t" * 129),
        ({"tags": {f"t{number}": "x" for number in range(49)}}, "tags"),
    ],
    ids=str,
)
async def test_what_cannot_be_kept_is_refused_by_its_field(
    service: Service, made: Any, sent: Any, field: str
) -> None:
    told, _ = await patch(service, sent, 400)
    assert told["errors"][0]["field"].removesuffix(".[key]") == field
    _, headers = await patch(service, {})
    assert headers["ETag"] == f'"{made.id}.1"'


async def test_sixteen_kib_of_metadata_fit_and_heads_stay_small(
    service: Service, made: Any
) -> None:
    long, many = "é" * 4000, "x" * 5000
    told, _ = await patch(service, {"user_metadata": {"title": None, "long": long, "many": many}})
    assert told["user_metadata"]["long"] == long
    status, shown = await head(service)
    assert status == 200
    assert shown["X-Meta-Many"] == many
    assert shown["X-Missing-Meta"] == "1"
    assert "X-Meta-Long" not in shown
    assert sum(len(name) + len(value) for name, value in shown.items()) < 20_000
    told, _ = await patch(service, {"user_metadata": {"more": "x" * 5000}}, 400)
    assert (told["limit"], told["errors"][0]["field"]) == (16384, "user_metadata")


async def test_escapes_count_less_than_the_body_may_have(service: Service, made: Any) -> None:
    body = {"user_metadata": {"lang": None, "title": "é" * 8000}}
    raw = json.dumps(body).encode()  # 48 KB of escapes for 16,000 bytes
    assert len(raw) > 48_000
    headers = {"Content-Type": MERGE_PATCH}
    async with service.fetch("PATCH", METADATA, data=raw, headers=headers) as response:
        assert response.status == 200
    async with service.fetch("PATCH", METADATA, data=b" " * 300_000, headers=headers) as response:
        assert response.status == 413
    async with service.fetch(
        "PATCH", METADATA, data=b"{}", headers={"Content-Type": "text/plain"}
    ) as response:
        assert response.status == 415


async def test_a_bucket_that_takes_few_types_takes_them_only(service: Service, made: Any) -> None:
    settings = {"allowed_content_types": ["image/*"]}
    async with service.fetch("PATCH", "/v1/buckets/films", json=settings) as response:
        assert response.status == 200
    told, _ = await patch(service, {"content_type": "video/webm"}, 415)
    assert told["code"] == "unsupported_media_type"
    told, _ = await patch(service, {"content_type": "image/png"})
    assert told["content_type"] == "image/png"
    await patch(service, {"tags": {"a": "9"}})


async def test_what_is_not_there_is_a_404_whatever_the_conditions(
    service: Service, made: Any
) -> None:
    told, _ = await patch(service, {}, 404, "/v1/buckets/films/metadata/no")
    assert told["code"] == "object_not_found"
    wanted = {"If-Match": '"x"'}
    await patch(service, {}, 404, "/v1/buckets/films/metadata/no", headers=wanted)
    told, _ = await patch(service, {}, 404, "/v1/buckets/none/metadata/a")
    assert told["code"] == "bucket_not_found"


async def test_it_needs_the_scope_to_write_this_key(service: Service, made: Any) -> None:
    reader = await service.make_key(Scope.READ, Scope.LIST, Scope.DELETE)
    elsewhere = await service.make_key(Scope.WRITE, prefixes=("b/",))
    writer = await service.make_key(Scope.WRITE, prefixes=("a",))
    for key in (reader, elsewhere):
        await patch(service, {"tags": {"a": "2"}}, 403, key=key)
    await patch(service, {"tags": {"a": "2"}}, key=writer)


async def test_limits_that_were_lowered_leave_other_changes_possible(start: Start) -> None:
    async with start(limits=Limits(max_metadata_bytes=4, max_tags=1)) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        await store(service, "a", user_metadata={"title": "longer"}, tags={"a": "1", "b": "2"})
        await patch(service, {"filename": "x"})
        await patch(service, {"tags": {"c": "3"}}, 400)
        await patch(service, {"user_metadata": {"title": "longer!"}}, 400)
        await patch(service, {"user_metadata": {"title": None}, "tags": {"a": None}})


async def test_a_link_to_the_store_has_the_new_words(start: Start) -> None:
    async with start(s3=S3(public_endpoint="https://s3.example.org")) as service:
        async with service.fetch("PUT", "/v1/buckets/films", json={"delivery": "redirect"}):
            pass
        await store(service, "a", data=b"x" * 100_000, content_type="video/mp4", filename="a.mp4")
        for name in ("a.mp4", "b.mp4"):
            await patch(service, {"filename": name})
            async with service.fetch("GET", OBJECT, allow_redirects=False) as response:
                assert response.status == 307
                token = response.headers["Location"].rpartition("/")[2].partition("?")[0]
            assert name in service.blobs.links[token].fields.content_disposition
