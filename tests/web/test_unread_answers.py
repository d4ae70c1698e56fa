"""A client that does not read its answer keeps nothing of the service for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from service.settings import Http
from service.web.route import Route
from service.web.server import Connection
from tests.web.serving import Service, Start

HTTP = Http(idle_timeout_s=0.4, keepalive_timeout_s=0.2, shutdown_grace_s=1)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def at_once(request: web.Request) -> web.Response:
    return web.Response(body=bytes(int(request.query["size"])))


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = int(request.query["size"])
    await response.prepare(request)
    await response.write(bytes(response.content_length))
    await response.write_eof()
    return response


@asynccontextmanager
async def asked(
    start: Start, monkeypatch: pytest.MonkeyPatch, answer: Answer, *sizes: int
) -> AsyncIterator[tuple[Service, socket.socket]]:
    """Requests for so many bytes each, by sockets that take a few KiB at a time."""
    made = Connection.connection_made

    def narrowed(self: Connection, transport: asyncio.BaseTransport) -> None:
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", narrowed)
    async with start(Route("GET", "/answer", answer, None), http=HTTP) as service:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
            plain.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(plain, ("127.0.0.1", service.port))
            for size in sizes:
                await loop.sock_sendall(
                    plain, f"GET /answer?size={size} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                )
            yield service, plain


@pytest.mark.parametrize(
    ("answer", "size"), [(at_once, 50_000), (at_once, 300_000), (streamed, 50_000)]
)
async def test_an_answer_that_nobody_reads_is_dropped(
    start: Start, monkeypatch: pytest.MonkeyPatch, answer: Answer, size: int
) -> None:
    async with asked(start, monkeypatch, answer, size) as (service, _):
        await asyncio.sleep(0.1)
        assert "mediagate_connections 1.0" in service.runtime.metrics.render().decode()
        async with asyncio.timeout(5):
            while "mediagate_connections 0.0" not in service.runtime.metrics.render().decode():
                await asyncio.sleep(0.05)
        assert (
            'refused_total{reason="slow_reader"} 1.0' in service.runtime.metrics.render().decode()
        )


async def test_answers_that_are_read_slowly_come_whole(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes longer than the idle time, and so does what waits before the next request."""
    sizes = (600_000, 40_000, 300_000)
    async with asked(start, monkeypatch, at_once, *sizes) as (service, plain):
        loop, got = asyncio.get_running_loop(), b""
        while data := await loop.sock_recv(plain, 32 << 10):
            got += data
            await asyncio.sleep(0.05)
        assert got.count(b"HTTP/1.1 200") == len(sizes)
        assert got.count(b"\0") == sum(sizes)
        assert "slow_reader" not in service.runtime.metrics.render().decode()
