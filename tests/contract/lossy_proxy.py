"""A TCP proxy that loses what it is told to lose, and tells what passed through."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

REQUEST_LINE = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) /\S* HTTP/1\.1\r\n")


class LossyProxy:
    """requests: methods in the order that they passed.

    lose_answers: requests go through, answers do not; the connection is cut instead.
    cut_uploads: how many of the next connections are cut once a body is on its way.
    cut_downloads_after: bytes of an answer after which its connection is cut.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname, parts.port
        self.endpoint = ""
        self.requests: list[str] = []
        self.open_connections = 0
        self.connections: set[asyncio.Task[None]] = set()
        self.lose_answers = False
        self.cut_uploads = 0
        self.cut_downloads_after: int | None = None

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self.connections.add(connection)
        connection.add_done_callback(self.connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
            ways = [
                asyncio.create_task(self._up(reader, up_writer)),
                asyncio.create_task(self._down(up_reader, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                up_writer.transport.abort()
        finally:
            self.open_connections -= 1
            writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.requests += [found.decode() for found in REQUEST_LINE.findall(data)]
            if self.cut_uploads and len(data) == 1 << 16:
                self.cut_uploads -= 1
                return
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(1 << 16):
            if self.lose_answers and b"100 Continue" not in data:
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()
            if self.cut_downloads_after is not None and passed > self.cut_downloads_after:
                return


@contextlib.asynccontextmanager
async def lossy_proxy(upstream: str) -> AsyncIterator[LossyProxy]:
    proxy = LossyProxy(upstream)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for connection in proxy.connections:
            connection.cancel()
        await asyncio.gather(*proxy.connections, return_exceptions=True)
