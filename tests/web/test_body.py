"""Bodies that break, stall or trickle, and the connections that carried them."""

from __future__ import annotations

import asyncio
import json

import pytest

from service.settings import MIB, Http, Limits
from service.web.body import GATHER_BYTES, RequestBody
from service.web.state import RUNTIME
from tests.web.serving import ROOT_KEY, Service, Start, exchange

OBJECT = "/v1/buckets/films/objects/a"
ELSEWHERE = "/v1/buckets/none-such/objects/a"


def head(target: str, *fields: str) -> bytes:
    lines = [f"PUT {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {ROOT_KEY}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def problem(answer: bytes) -> tuple[bytes, str]:
    """The status line and the problem's code."""
    top, _, body = answer.partition(b"\r\n\r\n")
    return top.partition(b"\r\n")[0], json.loads(body)["code"]


async def in_pieces(port: int, *pieces: bytes) -> bytes:
    """Each piece on its own, then all that is answered until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.1)
    try:
        return await asyncio.wait_for(reader.read(), 8)
    finally:
        writer.close()


async def read_response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    top = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = next(
        int(line.split(b":")[1])
        for line in top.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return top, await reader.readexactly(length)


async def test_broken_chunk_is_told_at_once(service: Service, bucket: str) -> None:
    chunked = head(OBJECT, "Transfer-Encoding: chunked")
    answer = await in_pieces(service.port, chunked, b"5\r\nhello\r\n", b"zz\r\n")
    assert problem(answer) == (b"HTTP/1.1 400 Bad Request", "incomplete_body")
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_stalled_body_is_408(start: Start) -> None:
    async with start(http=Http(idle_timeout_s=0.3)) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        answer = await exchange(service.port, head(OBJECT, "Content-Length: 10") + b"short")
        assert problem(answer) == (b"HTTP/1.1 408 Request Timeout", "slow_client")
        await service.runtime.tasks.drain(5)
        assert not service.blobs.blobs


async def test_small_rest_of_a_refused_body_keeps_the_connection_in_step(
    service: Service, bucket: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head(ELSEWHERE, "Content-Length: 40000") + b"GET / HTTP/1.1\r\n" * 100)
    top, _ = await read_response(reader)
    assert top.startswith(b"HTTP/1.1 404")
    assert b"connection: close" not in top.lower()
    writer.write(b"x" * (40000 - 1600))
    writer.write(head(OBJECT, "Content-Length: 2") + b"ok")
    top, _ = await read_response(reader)
    assert top.startswith(b"HTTP/1.1 201")
    writer.close()


@pytest.mark.parametrize("field", [f"Content-Length: {5 * MIB}", "Transfer-Encoding: chunked"])
async def test_large_or_endless_rest_of_a_refused_body_closes_the_connection(
    service: Service, field: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head(ELSEWHERE, field))
    top, _ = await read_response(reader)
    assert top.startswith(b"HTTP/1.1 404")
    assert b"connection: close" in top.lower()
    writer.close()


async def test_client_that_writes_on_gets_to_see_why_it_was_refused(start: Start) -> None:
    limits = Limits(byte_budget_bytes=32 * MIB, max_object_bytes=100_000)
    async with start(limits=limits) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        pieces = [piece] * 32
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head(OBJECT, "Transfer-Encoding: chunked"))
        for each in pieces:
            writer.write(each)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert problem(answer)[0] == b"HTTP/1.1 413 Request Entity Too Large"


class Crumbs:
    """A request whose body comes a byte at a time."""

    transport = object()
    version = (1, 1)

    def __init__(self, service: Service, count: int) -> None:
        self.config_dict = {RUNTIME: service.runtime}
        self.headers: dict[str, str] = {}
        self.content = self
        self._left = count

    async def readany(self) -> bytes:
        self._left -= 1
        return b"x" if self._left >= 0 else b""


async def test_crumbs_are_gathered(service: Service) -> None:
    body = RequestBody(Crumbs(service, 40_000))  # type: ignore[arg-type]
    chunks = [chunk async for chunk in body]
    assert sum(map(len, chunks)) == 40_000
    assert len(chunks) <= 40_000 // GATHER_BYTES + 2
