"""The proxy that breaks things does exactly what its faults say, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web

from tests.faults.chaos import (
    ChaosProxy,
    Cut,
    Delay,
    DropAnswer,
    Refuse,
    Throttle,
    chaos_proxy,
    request_line,
    saying,
)

BODY = bytes(range(256)) * 1000


class Upstream:
    """An HTTP server that echoes, and remembers what it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[tuple[str, str, bytes]] = []
        self.arrived = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except ConnectionError:
            body = b"broken"
        self.taken.append((request.method, request.path, body))
        self.arrived.set()
        return web.Response(body=body)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[ChaosProxy]:
    async with chaos_proxy(upstream.port) as running:
        yield running


@pytest.fixture
async def http(proxy: ChaosProxy) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(proxy.url) as session:
        yield sent_once(session)


def sent_once(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """aiohttp repeats a PUT by itself when its connection breaks; there is no public switch."""
    session._retry_connection = False
    return session


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 10_000):
        yield data[start : start + 10_000]


async def streamed(data: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(data):
        yield piece


async def put(http: aiohttp.ClientSession, path: str = "/a", **given: object) -> bytes:
    async with http.put(path, **({"data": BODY} | given)) as response:
        assert response.status == 200
        return await response.read()


async def test_everything_passes_where_no_fault_picks_it(
    proxy: ChaosProxy, http: aiohttp.ClientSession
) -> None:
    proxy.faults.append(Refuse(picks=request_line("PUT", "/other")))
    assert await put(http) == BODY
    assert await put(http, data=streamed(BODY)) == BODY
    assert await put(http, expect100=True) == BODY
    assert await put(http, data=b"") == b""
    async with http.get("/b") as response:
        assert await response.read() == b""
    assert proxy.requests == {"PUT": 4, "GET": 1}
    assert len(proxy.links) == 1


async def test_delay_holds_a_request_back(proxy: ChaosProxy, http: aiohttp.ClientSession) -> None:
    proxy.faults.append(Delay(seconds=0.3, times=1))
    began = time.monotonic()
    assert await put(http) == BODY
    assert 0.3 <= time.monotonic() - began < 2
    assert proxy.faults[0].met == 1


async def test_throttle_bounds_the_rate(proxy: ChaosProxy, http: aiohttp.ClientSession) -> None:
    proxy.faults.append(Throttle(bytes_s=len(BODY) * 4))
    began = time.monotonic()
    assert await put(http) == BODY
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_a_request_is_cut_at_byte_n(
    proxy: ChaosProxy, http: aiohttp.ClientSession, upstream: Upstream, how: str
) -> None:
    proxy.faults.append(Cut(how=how, after_bytes=100_000, times=1))
    with pytest.raises(aiohttp.ClientError):
        await asyncio.wait_for(put(http), 3)
    if how == "half":
        await asyncio.wait_for(upstream.arrived.wait(), 3)
    assert all(body in (b"broken", b"") for _, _, body in upstream.taken)


async def test_an_answer_is_cut_at_byte_n(
    proxy: ChaosProxy, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    proxy.faults.append(Cut(how="close", way="answer", after_bytes=1000, times=1))
    with pytest.raises(aiohttp.ClientError):
        await put(http)
    assert upstream.taken == [("PUT", "/a", BODY)]
    assert await put(http) == BODY


async def test_a_reset_is_an_rst(proxy: ChaosProxy) -> None:
    proxy.faults.append(Cut(how="reset"))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.transport.abort()


async def test_a_half_close_ends_one_way_only(proxy: ChaosProxy) -> None:
    proxy.faults.append(Cut(how="half", way="answer", after_bytes=12))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await reader.read() == b"HTTP/1.1 200"
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await writer.drain()
    writer.transport.abort()


async def test_a_black_hole_answers_nothing_and_closes_nothing(
    proxy: ChaosProxy, upstream: Upstream
) -> None:
    proxy.faults.append(Cut(how="hold"))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.3)
    assert upstream.taken == []
    writer.transport.abort()


@pytest.mark.parametrize("expect100", [False, True])
async def test_a_dropped_answer_was_delivered(
    proxy: ChaosProxy, http: aiohttp.ClientSession, upstream: Upstream, expect100: bool
) -> None:
    proxy.faults.append(DropAnswer(picks=request_line("POST"), times=1))
    with pytest.raises(aiohttp.ClientError):
        async with http.post("/a", data=BODY, expect100=expect100):
            pass
    assert upstream.taken == [("POST", "/a", BODY)]
    assert await put(http) == BODY


@pytest.mark.parametrize("expect100", [False, True])
async def test_a_refusal_says_slow_down_and_delivers_nothing(
    proxy: ChaosProxy, http: aiohttp.ClientSession, upstream: Upstream, expect100: bool
) -> None:
    proxy.faults.append(Refuse(times=1))
    async with http.put("/a", data=BODY, expect100=expect100) as response:
        assert response.status == 503
        assert b"<Code>SlowDown</Code>" in await response.read()
    assert upstream.taken == []
    assert await put(http) == BODY


async def test_a_share_is_met_at_random_but_repeatably(
    proxy: ChaosProxy, http: aiohttp.ClientSession
) -> None:
    proxy.faults.append(Refuse(share=0.3))
    statuses = []
    for _ in range(100):
        async with http.get("/a") as response:
            statuses.append(response.status)
    assert 15 <= statuses.count(503) <= 45
    assert proxy.faults[0].met == statuses.count(503)


async def test_plain_tcp_is_picked_by_what_is_said(upstream: Upstream) -> None:
    async with chaos_proxy(upstream.port, http=False) as proxy:
        proxy.faults.append(DropAnswer(picks=saying(b"lose me")))
        async with aiohttp.ClientSession(proxy.url) as http:
            assert await put(sent_once(http), data=b"keep me") == b"keep me"
            with pytest.raises(aiohttp.ClientError):
                await put(http, data=b"lose me")
    assert [body for _, _, body in upstream.taken] == [b"keep me", b"lose me"]
