"""Buckets with `delivery: redirect`: who is sent to the store, and what is told on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from service.model.bucket import BucketSettings, Delivery
from service.model.ids import DEFAULT_TENANT
from service.protocol.http_dates import format_http_date
from service.settings import S3, Sweep
from tests.fakes.link_server import Asked, link_server
from tests.web.serving import Service, Start
from tests.web.test_downloads import DATA, OBJECT, PNG, store

PUBLIC = S3(public_endpoint="https://s3.example.org")


@dataclass
class World:
    """A service whose bucket `films` redirects, and what its store is asked by clients."""

    service: Service
    asked: Asked

    async def get(
        self, path: str = "a", method: str = "GET", **kwargs: Any
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """Without following."""
        kwargs.setdefault("allow_redirects", False)
        async with self.service.fetch(method, OBJECT + path, **kwargs) as response:
            return response.status, response.headers, await response.read()

    async def follow(self, path: str = "a", **kwargs: Any) -> tuple[int, Any, bytes]:
        return await self.get(path, allow_redirects=True, **kwargs)


@pytest.fixture
async def world(start: Start) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(start(s3=PUBLIC))
        asked = await stack.enter_async_context(link_server(service.blobs))
        body = {"delivery": "redirect"}
        async with service.fetch("PUT", "/v1/buckets/films", json=body) as response:
            assert response.status == 201
            assert (await response.json())["delivery"] == "redirect"
        yield World(service, asked)


async def test_a_get_is_sent_to_the_store_and_told_what_that_cannot_know(world: World) -> None:
    version = await store(world.service, DATA, user_metadata={"title": "x"}, tags={"a": "b"})
    status, headers, body = await world.get()
    assert (status, body) == (307, b"")
    assert headers["Location"].startswith(world.service.blobs.public_endpoint)
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["ETag"] == f'"{version.id}"'
    assert headers["Last-Modified"] == format_http_date(version.modified_at)
    assert "crc64nvme=:" in headers["Repr-Digest"]
    assert (headers["X-Meta-title"], headers["X-Tags"]) == ("x", "a=b")
    absent = {"Content-Disposition", "Content-Type", "Content-Range", "Accept-Ranges"}
    assert not absent & set(headers)


async def test_following_it_gives_the_bytes_without_the_key(world: World) -> None:
    await store(world.service, DATA)
    status, headers, body = await world.follow()
    assert (status, body) == (200, DATA)
    assert headers["ETag"] == '"the-tag-of-the-store"'
    status, headers, body = await world.follow(headers={"Range": "bytes=10-19"})
    assert (status, body) == (206, DATA[10:20])
    assert headers["Content-Range"] == "bytes 10-19/1000"
    assert len(world.asked) == 2
    assert all("Authorization" not in asked for asked in world.asked)


@pytest.mark.parametrize(
    ("data", "declared", "kind"),
    [
        (PNG, "image/png", "inline"),
        (PNG, "text/html", "attachment"),
        (b"<html><script>alert(1)</script>", "image/png", "attachment"),
        (b"<html><script>alert(1)</script>", "text/html", "attachment"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "attachment"),
        (b"just text", "text/plain", "inline"),
    ],
)
async def test_the_store_shows_in_place_only_what_the_service_would(
    world: World, data: bytes, declared: str, kind: str
) -> None:
    await store(world.service, data, content_type=declared)
    _, headers, _ = await world.follow()
    assert headers["Content-Disposition"].startswith(f"{kind};")
    assert headers["Content-Type"] == declared


async def test_the_store_says_what_the_service_would_have(world: World) -> None:
    facts = {"content_encoding": "gzip", "content_language": "de", "cache_control": "max-age=7"}
    version = await store(world.service, b"not decoded", content_type="text/css", **facts)
    query = f"a?download=n%C3%A4me.css&version={version.id}"
    _, headers, body = await world.follow(query, auto_decompress=False)
    assert body == b"not decoded"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Language"] == "de"
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert "filename*=UTF-8''n%C3%A4me.css" in headers["Content-Disposition"]


async def test_what_the_service_can_tell_alone_never_reaches_the_store(world: World) -> None:
    version = await store(world.service, DATA)
    etag = f'"{version.id}"'
    for path, sent, expected in (
        ("a", {"If-None-Match": etag}, 304),
        ("a", {"If-None-Match": "*"}, 304),
        ("a", {"If-Match": '"other"'}, 412),
        ("a", {"Range": "bytes=1000-"}, 416),
        ("nothing", {}, 404),
        ("a?version=01ARZ3NDEKTSV4RRFFQ69G5FAV", {}, 404),
        ("a?version=", {}, 400),
    ):
        status, headers, _ = await world.get(path, headers=sent)
        assert status == expected
        assert "Location" not in headers
    status, _, _ = await world.get(headers={"Authorization": "Bearer mg_wrong"})
    assert status == 401
    assert not world.service.blobs.links


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("If-Match", "{etag}"),
        ("If-Unmodified-Since", "{date}"),
        ("If-Modified-Since", "Thu, 01 Jan 2015 00:00:00 GMT"),
        ("If-Range", "{etag}"),
        ("Range", "bytes=0-9,20-29"),
        ("Range", "bytes=0-9,10-19"),
        ("Range", "BYTES=0-9"),
        ("Range", "bytes=9-0"),
        ("Range", "lines=0-9"),
    ],
)
async def test_what_the_store_would_judge_otherwise_is_delivered_here(
    world: World, name: str, value: str
) -> None:
    version = await store(world.service, DATA)
    date = format_http_date(version.modified_at)
    value = value.format(etag=f'"{version.id}"', date=date)
    status, headers, body = await world.get(headers={"Range": "bytes=0-", name: value})
    assert status in (200, 206)
    assert headers["ETag"] == f'"{version.id}"'
    assert body
    assert not world.service.blobs.links


async def test_another_entity_tag_in_if_none_match_is_no_obstacle(world: World) -> None:
    await store(world.service, DATA)
    assert (await world.get(headers={"If-None-Match": '"other"'}))[0] == 307


async def test_a_head_and_an_empty_object_need_no_store(world: World) -> None:
    await store(world.service, DATA)
    status, headers, _ = await world.get(method="HEAD")
    assert (status, headers["Content-Length"]) == (200, "1000")
    await store(world.service, b"")
    status, headers, body = await world.get()
    assert (status, headers["Content-Length"], body) == (200, "0", b"")
    assert not world.service.blobs.links


async def test_each_get_has_a_link_of_its_own_that_ends(world: World) -> None:
    await store(world.service, DATA)
    first, second = [(await world.get())[1]["Location"] for _ in range(2)]
    assert first != second
    for link in world.service.blobs.links.values():
        assert 250 < link.until - time.monotonic() <= 300


async def test_no_log_has_the_signed_url(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await store(world.service, DATA)
    caplog.set_level(logging.DEBUG)
    status, headers, _ = await world.get()
    assert status == 307
    secret = URL(headers["Location"]).query["X-Amz-Signature"]
    assert any("get_object" in line or "307" in line for line in caplog.text.splitlines())
    assert secret not in caplog.text
    assert "X-Amz" not in caplog.text


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_without_a_public_endpoint_the_setting_is_refused(
    service: Service, bucket: str, method: str
) -> None:
    name = "other" if method == "PUT" else bucket
    body = {"delivery": "redirect"}
    async with service.fetch(method, f"/v1/buckets/{name}", json=body) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (409, "conflict")
        assert "s3.public_endpoint" in problem["detail"]
    async with service.fetch("GET", f"/v1/buckets/{bucket}") as response:
        assert (await response.json())["delivery"] == "proxy"


async def test_a_bucket_that_outlived_the_public_endpoint_is_delivered_here(
    service: Service, bucket: str
) -> None:
    made = await service.metadata.buckets.get(DEFAULT_TENANT, bucket)
    assert made is not None
    chosen = BucketSettings(delivery=Delivery.REDIRECT)
    await service.metadata.buckets.update(DEFAULT_TENANT, made.id, chosen, revision=1)
    await store(service, DATA)
    async with service.fetch("GET", OBJECT + "a", allow_redirects=False) as response:
        assert (response.status, await response.read()) == (200, DATA)
    body = {"cache_control": "no-cache"}
    async with service.fetch("PATCH", f"/v1/buckets/{bucket}", json=body) as response:
        assert response.status == 200
        assert (await response.json())["delivery"] == "redirect"


async def test_null_brings_the_proxy_back(world: World) -> None:
    await store(world.service, DATA)
    body = {"delivery": None}
    async with world.service.fetch("PATCH", "/v1/buckets/films", json=body) as response:
        assert (await response.json())["delivery"] == "proxy"
    assert (await world.get())[0] == 200


def test_a_link_must_end_before_its_blob_does(start: Start) -> None:
    with pytest.raises(ValueError, match="presign_ttl_s"):
        start(
            s3=S3(public_endpoint="https://s3.example.org", presign_ttl_s=90_000),
            sweep=Sweep(grace_s=90_000),
        )


@pytest.mark.parametrize(
    "url", ["s3.example.org", "ftp://s3", "https://s3/path", "https://s3?x", "https://a@s3", ""]
)
def test_a_public_endpoint_is_an_origin(url: str) -> None:
    with pytest.raises(ValueError, match="public_endpoint"):
        S3(public_endpoint=url)
