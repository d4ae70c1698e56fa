"""GET by presigned URL: what is tried again, what is signed again, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from blob_fixtures import OpenStore
from blobs import put, read, some_chunks
from lossy_proxy import lossy_proxy
from s3_servers import S3Server

from service.errors import BlobMissing, MediagateError, StoreRefused, StoreUnavailable
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
        (206, {"Content-Range": "bytes 0-4/100"}, b"x" * 5, "another range"),
        (206, {"Content-Range": "bytes 0-9/10"}, b"x" * 9, "another range"),
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


@asynccontextmanager
async def answering(answers: list[tuple[bytes, ...]]) -> AsyncIterator[str]:
    """A store that says these, one for each request, piece by piece; then none any more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in answers.pop(0) if answers else ():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def failed_read(answers: list[tuple[bytes, ...]]) -> MediagateError:
    async with answering(answers) as endpoint:
        store = await open_blob_store(S3(endpoint=endpoint, request_timeout_s=3))
        try:
            with pytest.raises(MediagateError) as failure:
                await read(store, new_blob_key(DEFAULT_TENANT), 0, 10)
        finally:
            await store.close()
    return failure.value


async def test_a_body_of_unknown_length_is_no_missing_blob() -> None:
    """A proxy in front of the store may take its Content-Length away."""
    head = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    error = await failed_read([(head, b"a\r\n0123456789\r\n0\r\n\r\n")])
    assert isinstance(error, StoreUnavailable)
    assert "length" in error.detail


async def test_an_error_that_comes_in_pieces_is_read_to_its_end() -> None:
    head = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = (b'15\r\n<?xml version="1.0"?>\r\n', b"19\r\n<Code>NoSuchBucket</Code>\r\n0\r\n\r\n")
    error = await failed_read([(head, *pieces)])
    assert isinstance(error, StoreUnavailable)
    assert "NoSuchBucket" in error.detail


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_whatever_a_store_says_to_an_expired_url_it_is_signed_again(status: int) -> None:
    """AWS and MinIO say 403, Google 400 (ExpiredToken)."""
    refusal = f"HTTP/1.1 {status} x\r\nContent-Length: 25\r\n\r\n<Code>ExpiredToken</Code>\n"
    answer = (
        b"HTTP/1.1 206 x\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/10\r\n\r\n0123456789"
    )
    async with answering([(refusal.encode(),), (answer,)]) as endpoint:
        store = await open_blob_store(S3(endpoint=endpoint))
        try:
            assert await read(store, new_blob_key(DEFAULT_TENANT), 0, 10) == b"0123456789"
        finally:
            await store.close()


async def test_a_signature_that_was_renewed_late_is_no_reason_to_try_for_ever() -> None:
    said = [f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n" for status in (503, 503, 403)]
    left = [(answer.encode(),) for answer in said]
    began = asyncio.get_running_loop().time()
    error = await failed_read(left)
    assert asyncio.get_running_loop().time() - began < 2
    assert (left, error.detail) == ([], "the connection to the S3 store broke")
