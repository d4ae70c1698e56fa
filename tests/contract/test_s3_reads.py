"""GET by presigned URL: what is tried again, what is signed again, and what is told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from blob_fixtures import OpenStore
from blobs import put, read, some_chunks
from lossy_proxy import lossy_proxy
from s3_servers import S3Server

from service.errors import BlobMissing, StoreRefused, StoreUnavailable
from service.model.ids import DEFAULT_TENANT
from service.settings import S3
from service.stores.blob_layout import new_blob_key
from service.stores.s3 import blob_reader, open_blob_store, signed_urls
from tests.faults.chaos import Cut, Refuse, chaos_proxy, request_line

BLOB_GET = request_line("GET", "/blobs/")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_reader.random, "random", lambda: 0.01)


async def test_an_expired_url_is_signed_again_once(
    s3_server: S3Server, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_urls, "_LIVES_S", 2)
    monkeypatch.setattr(signed_urls, "_MARGIN_S", -3600)
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.endpoint))
        key = await put(store, some_chunks(1000))
        proxy.requests.clear()
        assert len(await read(store, key, 0, 1000)) == 1000
        assert len(await read(store, key, 0, 1000)) == 1000
        assert proxy.requests == ["GET"] * 2
        await asyncio.sleep(3.1)
        assert len(await read(store, key, 0, 1000)) == 1000
        assert proxy.requests == ["GET"] * 4


async def test_credentials_that_do_not_count_are_unavailable_after_a_second_signature(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    key = await put(await open_store(s3_server.settings()), some_chunks(10))
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_blob_store(
            s3_server.settings(endpoint=proxy.endpoint, secret_key="wrong-secret")
        )
        try:
            with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
                await read(store, key, 0, 10)
        finally:
            await store.close()
        assert proxy.requests == ["GET"] * 2


@pytest.mark.parametrize(
    "fault", [Refuse, lambda **how: Cut(how="reset", **how)], ids=["refused", "reset"]
)
async def test_what_may_pass_is_tried_again_a_few_times(
    s3_server: S3Server, open_store: OpenStore, fault
) -> None:
    async with chaos_proxy(urlsplit(s3_server.endpoint).port) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.url))
        chunks = some_chunks(1000)
        key = await put(store, chunks)
        proxy.faults.append(fault(picks=BLOB_GET, times=2))
        proxy.requests.clear()
        assert await read(store, key, 3, 1000) == b"".join(chunks)[3:]
        # aiohttp sends a GET once more by itself where a connection breaks.
        assert 2 <= proxy.requests["GET"] <= 6
        assert proxy.retries >= 1
        proxy.faults.append(fault(picks=BLOB_GET))
        with pytest.raises(StoreUnavailable):
            await read(store, key, 3, 1000)
        assert proxy.requests["GET"] <= 3 + 6


async def test_a_deleted_blob_is_missing_though_its_url_was_known(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store, other = [await open_store(s3_server.settings()) for _ in range(2)]
    key = await put(store, some_chunks(10))
    assert len(await read(store, key, 0, 10)) == 10
    await other.delete(key)
    with pytest.raises(BlobMissing):
        await read(store, key, 0, 10)
    await store.delete(key)
    assert key not in store._urls._known


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (200, {}, b"x" * 100, "ignored the range"),
        (206, {"Content-Range": "bytes 10-19/100"}, b"x" * 10, "another range"),
        (206, {"Content-Range": "bytes 0-4/5"}, b"x" * 5, BlobMissing),
        (302, {"Location": "http://127.0.0.1:9/"}, b"", "302"),
        (400, {}, b"<Error><Code>InvalidArgument</Code></Error>", StoreRefused),
        (404, {}, b"<Error><Code>NoSuchKey</Code></Error>", BlobMissing),
        (404, {}, b"", BlobMissing),
        (404, {}, b"<Error><Code>NoSuchBucket</Code></Error>", "NoSuchBucket"),
        (500, {}, b"no XML at all", "500"),
        (503, {}, b"<Error><Code>SlowDownRead</Code></Error>", "SlowDownRead"),
    ],
)
async def test_an_answer_that_is_not_the_bytes_is_told_as_what_it_is(
    status: int, headers: dict[str, str], body: bytes, expected
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store = await open_blob_store(S3(endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    kind, words = (StoreUnavailable, expected) if isinstance(expected, str) else (expected, None)
    try:
        with pytest.raises(kind, match=words):
            await read(store, new_blob_key(DEFAULT_TENANT), 0, 10)
    finally:
        await store.close()
        await runner.cleanup()
