"""HTTP written by hand on a socket, for what no client library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.installation import ROOT_KEY

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def head(method: str, target: str, *fields: str, key: str | None = ROOT_KEY) -> bytes:
    """A request's head; `fields` are whole lines."""
    authorization = [f"Authorization: Bearer {key}"] if key else []
    lines = [f"{method} {target} HTTP/1.1", "Host: e2e", *authorization, *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def exchange(port: int, *pieces: bytes, timeout_s: float = 8) -> bytes:
    """Send pieces one by one; all that comes back until the service closes."""
    async with connected(port) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.1)
        return await asyncio.wait_for(reader.read(), timeout_s)


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One response with a Content-Length, on a connection that lives on."""
    top = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    status, fields = parse_top(top)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return status, fields, body


def parse_top(top: str) -> tuple[int, dict[str, str]]:
    lines = top.rstrip().split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(lines[0].split(" ")[1]), fields


def parse(answer: bytes) -> tuple[int, Any]:
    """Status and JSON of a single response, which must be all that came."""
    top, _, body = answer.partition(b"\r\n\r\n")
    status, fields = parse_top(top.decode())
    assert len(body) == int(fields["content-length"]), "more than one response"
    return status, json.loads(body) if body else None
