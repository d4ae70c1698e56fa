"""What a client gets that does not keep to HTTP, or to its word."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import Installation, Process, eventually
from tests.e2e.raw_http import connected, exchange, head, parse, read_response

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
async def path(http: ClientSession, bucket: str, installation: Installation):
    """A key that must name nothing after the test, with the store as it was before."""
    before = set(await installation.store_keys())
    yield f"{bucket}/objects/a"
    async with http.get(f"{bucket}/objects/a") as response:
        assert response.status == 404

    async def as_before() -> bool:
        return set(await installation.store_keys()) == before

    await eventually(as_before)


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\n",
        b"5;\r\n\x00\r\n",
        b"-1\r\n",
        b"5\r\nabcdeXX",
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"\r\n\r\n",
    ],
)
async def test_broken_chunking(service: Process, path: str, broken: bytes) -> None:
    answer = await exchange(service.port, head("PUT", path, CHUNKED), b"5\r\nhello\r\n", broken)
    status, told = parse(answer)
    assert status == 400
    assert told["code"] in ("incomplete_body", "invalid")


@pytest.mark.parametrize("size_bytes", [3, 9 << 20])
async def test_body_that_stops_short_is_408(service: Process, path: str, size_bytes: int) -> None:
    began = time.monotonic()
    length = f"Content-Length: {size_bytes + 10}"
    answer = await exchange(service.port, head("PUT", path, length), b"x" * size_bytes)
    status, told = parse(answer)
    assert (status, told["code"]) == (408, "slow_client")
    assert 1.5 < time.monotonic() - began < 7


@pytest.mark.parametrize("size_bytes", [3, 9 << 20])
@pytest.mark.parametrize("field", ["Content-Length: 20000000", CHUNKED])
async def test_client_that_hangs_up(
    service: Process, path: str, field: str, size_bytes: int
) -> None:
    body = b"x" * size_bytes
    if field == CHUNKED:
        body = b"%x\r\n" % size_bytes + body + b"\r\n"
    async with connected(service.port) as (_, writer):
        writer.write(head("PUT", path, field) + body)
        await writer.drain()
        await asyncio.sleep(0.3)


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", CHUNKED),
        (CHUNKED, "Content-Length: 5"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: +5",),
        ("Content-Length: 5, 5",),
        ("Transfer-Encoding: identity, chunked, x",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Content-Length : 5",),
        ("X: a\r\n\tb: folded", "Content-Length: abc"),
        ("X-Null: a\0b",),
    ],
)
async def test_requests_that_proxies_could_read_otherwise_are_refused(
    service: Process, path: str, fields: tuple[str, ...]
) -> None:
    smuggled = head("DELETE", "/v1/keys/x")
    answer = await exchange(service.port, head("PUT", path, *fields) + b"0\r\n\r\n" + smuggled)
    status, told = parse(answer)
    assert status == 400, answer
    assert told["code"] == "invalid"


@pytest.mark.parametrize("sent", [b"", b"PUT /v1/buckets/x HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_slow_head_is_closed(service: Process, sent: bytes) -> None:
    async with connected(service.port) as (reader, writer):
        writer.write(sent)
        began = time.monotonic()
        for _ in range(20):
            if reader.at_eof():
                break
            writer.write(b"a" if sent else b"")
            await asyncio.sleep(0.3)
        assert reader.at_eof() or not await asyncio.wait_for(reader.read(), 1)
        assert time.monotonic() - began < 5


async def test_endless_head_is_refused(service: Process) -> None:
    answer = await exchange(service.port, head("GET", "/healthz", "X-Long: " + "x" * 100_000))
    assert parse(answer)[0] == 400


async def test_content_range_on_put_is_400(service: Process, path: str) -> None:
    fields = ("Content-Length: 5", "Content-Range: bytes 0-4/10", "Connection: close")
    assert parse(await exchange(service.port, head("PUT", path, *fields) + b"hello"))[0] == 400


async def test_body_is_asked_for_only_after_admission(
    http: ClientSession, service: Process, bucket: str
) -> None:
    expect = ("Content-Length: 5", "Expect: 100-continue")
    for target, key, status in (
        (f"{bucket}/objects/a", "mg_wrong", 401),
        ("/v1/buckets/none-such/objects/a", None, 404),
    ):
        async with connected(service.port) as (reader, writer):
            request = head("PUT", target, *expect, key=key) if key else head("PUT", target, *expect)
            writer.write(request)
            assert (await read_response(reader))[0] == status
    async with connected(service.port) as (reader, writer):
        writer.write(head("PUT", f"{bucket}/objects/a", *expect))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await read_response(reader))[0] == 201


async def test_pipelined_and_kept_alive_requests_stay_in_step(
    service: Process, http: ClientSession, bucket: str
) -> None:
    async with connected(service.port) as (reader, writer):
        for number in range(3):
            target = f"{bucket}/objects/p{number}"
            writer.write(head("PUT", target, "Content-Length: 2") + b"%02d" % number)
        writer.write(head("PUT", "/v1/buckets/none-such/objects/a", "Content-Length: 500"))
        writer.write(head("DELETE", "/v1/keys/x") * 5)
        answers = [(await read_response(reader))[0] for _ in range(4)]
        assert answers == [201, 201, 201, 404]
