"""A TCP proxy in front of several replicas that never lets one of them have its way.

No two requests of one upload in a row go to the same replica; which of the others it is, chance
decides, so that of three each meets what the other two left. Connections are cut in the middle of
bodies. One connection carries one request: every head that passes gets a `Connection: close`.

A cut resets the client's connection. The replica's is reset too, or left open and silent, as a lost
network leaves it; then the replica learns of the cut only by its own timeout, or from whoever goes
on with the upload elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE = 1 << 18
_LINGER_S = 1.0
_RESET = struct.pack("ii", 1, 0)
_CONNECTION = re.compile(rb"\r\n(?:connection|keep-alive):[^\r]*", re.IGNORECASE)
_UPLOAD_OFFSET = re.compile(rb"\r\nupload-offset:\s*(\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation:\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Cut:
    """at: bytes of the upload, the last of which is the last that passes. silent: the replica's
    connection stays open."""

    at: int
    silent: bool = False


@dataclass(frozen=True)
class Passed:
    """A request that reached a replica."""

    method: str
    path: str
    replica: int


@dataclass
class CuttingProxy:
    """replicas: their base URLs; may change. cuts: those to come, in order.

    cuts_made: how many came.
    on_cut: awaited with the number of the replica that was receiving, before connections are reset.
    body_bytes: of POST and PATCH, as many as clients sent.
    """

    replicas: list[str]
    cuts: list[Cut]
    on_cut: Callable[[int], Awaitable[None]] | None = None
    url: str = ""
    cuts_made: int = 0
    body_bytes: int = 0
    passed: list[Passed] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(1))
    _left_open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, path = head.split(b" ", 2)[:2]
            exchange = _Exchange(self, method.decode(), path.decode(), head, reader, writer)
            await exchange.run()

    async def connect(
        self, method: str, path: str
    ) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        """To any replica but the last one. Raises OSError where that is down."""
        # A browser's preflights are no requests of the upload.
        key = f"OPTIONS {path}" if method == "OPTIONS" else path
        last = self._last.get(key)
        replica = self._random.choice([n for n in range(len(self.replicas)) if n != last])
        parts = urlsplit(self.replicas[replica])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._last[key] = replica
        self.passed.append(Passed(method, path, replica))
        return replica, reader, writer

    def created(self, location: str, replica: int) -> None:
        self._last[urlsplit(location).path] = replica

    async def cut(self, replica: int) -> bool:
        """Whether the replica is to hear of it."""
        silent = self.cuts.pop(0).silent
        self.cuts_made += 1
        if self.on_cut is not None:
            await self.on_cut(replica)
        return not silent

    def leave_open(self, writer: asyncio.StreamWriter) -> None:
        self._left_open.append(writer)

    def close(self) -> None:
        for writer in self._left_open:
            writer.transport.abort()


@dataclass
class _Exchange:
    """One request and its answer."""

    proxy: CuttingProxy
    method: str
    path: str
    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def run(self) -> None:
        try:
            replica, up_reader, up_writer = await self.proxy.connect(self.method, self.path)
        except OSError:
            _reset(self.writer)
            return
        up_writer.transport.set_write_buffer_limits(high=0)  # what is drained has left
        up_writer.write(_CONNECTION.sub(b"", self.head)[:-2] + b"Connection: close\r\n\r\n")
        up = asyncio.create_task(self._up(up_writer))
        down = asyncio.create_task(self._down(up_reader, replica))
        told = True
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if _is_true(up):
                told = await self.proxy.cut(replica)
            elif _is_true(down):
                up.cancel()
                await asyncio.wait({up})
                await self._linger()
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            _reset(self.writer)
            if told:
                _reset(up_writer)
            else:
                self.proxy.leave_open(up_writer)

    async def _up(self, writer: asyncio.StreamWriter) -> bool:
        """Whether this ends with a cut."""
        has_body = self.method in ("POST", "PATCH")
        found = _UPLOAD_OFFSET.search(self.head)
        at = int(found[1]) if found else 0
        while True:
            cuts = self.proxy.cuts if has_body else []
            left = cuts[0].at - at if cuts else _PIECE
            piece = await self.reader.read(min(_PIECE, max(1, left)))
            if not piece:
                return False
            if has_body:
                self.proxy.body_bytes += len(piece)
                at += len(piece)
            try:
                writer.write(piece)
                await writer.drain()
            except ConnectionError:  # its answer may be on its way
                await asyncio.Event().wait()
            if cuts and at >= cuts[0].at:
                return True

    async def _down(self, reader: asyncio.StreamReader, replica: int) -> bool:
        """Whether there was an answer."""
        answer = b""
        while piece := await reader.read(_PIECE):
            if len(answer) < _PIECE:
                answer += piece
                found = _LOCATION.search(answer)
                if found and self.method == "POST":
                    self.proxy.created(found[1].decode(), replica)
            self.writer.write(piece)
            await self.writer.drain()
        return bool(answer)

    async def _linger(self) -> None:
        """A reset would take the answer from a client that is still sending."""
        with suppress(OSError):  # TimeoutError is one
            self.writer.write_eof()
            async with asyncio.timeout(_LINGER_S):
                while await self.reader.read(_PIECE):
                    pass


def _is_true(task: asyncio.Task[bool]) -> bool:
    return task.done() and task.exception() is None and task.result()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        found: socket.socket | None = writer.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


def spread_cuts(size_bytes: int, count: int) -> list[Cut]:
    """Evenly, the last one behind the last byte, where only the answer is lost. Of every second
    one the replica hears nothing."""
    return [
        Cut(size_bytes * number // count, silent=number % 2 == 0) for number in range(1, count + 1)
    ]


@asynccontextmanager
async def cutting_proxy(
    replicas: Iterable[str],
    cuts: Iterable[Cut],
    on_cut: Callable[[int], Awaitable[None]] | None = None,
) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(list(replicas), list(cuts), on_cut)
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(proxy.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_PIECE)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        proxy.close()
    for error in ended:
        if isinstance(error, Exception):  # a mistake of the proxy's own
            raise error
