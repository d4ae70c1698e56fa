"""A proxy on loopback that breaks what passes through it, on purpose and countably.

It stands between the client and the service, the service and S3, or the service and MongoDB. What
the client sends is cut into *requests*: with `http=True` at the heads of HTTP requests, whose
bodies are framed by Content-Length or chunks; else every piece that arrives is one. For each
request the first fault in `faults` that picks it is carried out; everything else passes untouched.

    Delay       the request is held back for a while
    Throttle    both ways get no more than so many bytes a second from here on
    Cut         after so many more bytes of the request or of its answer:
                  close (FIN both ways), reset (RST both ways), half (FIN to the receiver of these
                  bytes, the other way goes on), hold (a black hole: nothing more, nothing closed)
    DropAnswer  the request is delivered, its answer thrown away, the client's connection reset
    Refuse      503 SlowDown as S3 says it, and the request goes nowhere (http only)
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

PIECE_BYTES = 1 << 16
HEAD_END = b"\r\n\r\n"
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)

Picks = Callable[[bytes], bool]
How = Literal["close", "reset", "half", "hold"]


def anything(_: bytes) -> bool:
    return True


def saying(needle: bytes) -> Picks:
    """Requests with these bytes in their head (http) or in the piece that arrived."""
    return lambda request: needle in request


def request_line(method: str, holding: str = "", without: str = "\n") -> Picks:
    """HTTP requests of this method whose target has `holding` in it and `without` not."""

    def picks(request: bytes) -> bool:
        line = request.split(b"\r\n", 1)[0].decode("latin-1")
        return line.startswith(f"{method} ") and holding in line and without not in line

    return picks


@dataclass(kw_only=True)
class Fault:
    """picks: which requests. times: how often, None for ever. share: of those picked, at random.

    met: how often it was carried out.
    """

    picks: Picks = anything
    times: int | None = None
    share: float = 1.0
    met: int = 0


@dataclass(kw_only=True)
class Delay(Fault):
    seconds: float


@dataclass(kw_only=True)
class Throttle(Fault):
    bytes_s: float


@dataclass(kw_only=True)
class Cut(Fault):
    how: How
    way: Literal["request", "answer"] = "request"
    after_bytes: int = 0


@dataclass(kw_only=True)
class DropAnswer(Fault):
    pass


@dataclass(kw_only=True)
class Refuse(Fault):
    pass


@dataclass
class ChaosProxy:
    """seed: of the shares. requests, retries: what passed or was refused, by HTTP method; an S3
    client's second and later attempts say so themselves (`amz-sdk-request`)."""

    upstream: int
    http: bool
    seed: int = 1
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    links: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pick(self, request: bytes) -> Fault | None:
        if self.http:
            self.requests[request.split(b" ", 1)[0].decode("latin-1")] += 1
            attempt = request.lower().partition(b"amz-sdk-request: attempt=")[2][:1]
            self.retries += attempt not in (b"", b"1")
        for fault in self.faults:
            if fault.times == 0 or not fault.picks(request):
                continue
            if fault.share < 1 and self._random.random() >= fault.share:
                continue
            fault.met += 1
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(_Link(self, reader, writer).run())
        self.links.add(link)
        link.add_done_callback(self.links.discard)


@asynccontextmanager
async def chaos_proxy(
    upstream: int, *, http: bool = True, seed: int = 1
) -> AsyncIterator[ChaosProxy]:
    """A running proxy in front of a loopback port."""
    proxy = ChaosProxy(upstream, http, seed)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=1 << 20)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        links = list(proxy.links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)


class _Ended(Exception):
    """This link is over. reset: with an RST to both ends."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset


class _Way:
    """One direction, and what is left of it. limit: bytes that may still pass."""

    def __init__(self, sink: asyncio.StreamWriter) -> None:
        self.sink = sink
        self.limit: int | None = None
        self.how: How = "close"
        self.bytes_s: float | None = None

    async def send(self, data: bytes) -> None:
        if self.limit is None:
            await self._write(data)
            return
        await self._write(data[: self.limit])
        self.limit -= min(len(data), self.limit)
        if self.limit == 0:
            await self._cut()

    async def cut_after(self, bytes_: int, how: How) -> None:
        self.limit, self.how = bytes_, how
        if bytes_ == 0:
            await self._cut()

    async def _write(self, data: bytes) -> None:
        if data:
            if self.bytes_s is not None:
                await asyncio.sleep(len(data) / self.bytes_s)
            self.sink.write(data)
            await self.sink.drain()

    async def _cut(self) -> None:
        if self.how in ("close", "reset"):
            await asyncio.sleep(0.02)  # what was passed on may arrive before the reset
            raise _Ended(reset=self.how == "reset")
        if self.how == "half":
            self.sink.write_eof()
        await asyncio.Event().wait()


class _Link:
    """One connection of a client, and the one to the upstream that belongs to it."""

    def __init__(
        self, proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._swallow = False

    async def run(self) -> None:
        reset = True
        ends = [self._writer]
        try:
            up_reader, up_writer = await asyncio.open_connection(
                "127.0.0.1", self._proxy.upstream, limit=1 << 20
            )
            ends.append(up_writer)
            self._up, self._down = _Way(up_writer), _Way(self._writer)
            requests = asyncio.create_task(self._requests())
            answers = asyncio.create_task(self._answers(up_reader))
            try:
                await _first_failure(requests, answers)
                reset = False
            except _Ended as end:
                reset = end.reset
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in ends:
                _close(end, reset=reset)

    async def _requests(self) -> None:
        while request := await (self._head() if self._proxy.http else self._piece()):
            fault = self._proxy.pick(request)
            if isinstance(fault, Refuse):
                await self._refuse(request)
                continue
            if fault is not None:
                await self._prepare(fault)
            await self._up.send(request)
            if self._proxy.http:
                async for piece in self._body(request):
                    await self._up.send(piece)
        if self._up.limit is None:
            self._up.sink.write_eof()

    async def _prepare(self, fault: Fault) -> None:
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        elif isinstance(fault, Throttle):
            self._up.bytes_s = self._down.bytes_s = fault.bytes_s
        elif isinstance(fault, DropAnswer):
            self._swallow = True
        elif isinstance(fault, Cut):
            way = self._up if fault.way == "request" else self._down
            if fault.way == "request":
                await way.cut_after(fault.after_bytes, fault.how)
            else:
                way.limit, way.how = fault.after_bytes, fault.how

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(PIECE_BYTES):
            if self._swallow:
                if data.startswith(b"HTTP/1.1 100"):
                    data = data[: data.index(HEAD_END) + len(HEAD_END)]
                else:
                    raise _Ended(reset=True)
            if self._down.limit == 0:
                await self._down._cut()
            await self._down.send(data)
        self._writer.write_eof()

    async def _piece(self) -> bytes:
        return await self._reader.read(1 << 20)

    async def _head(self) -> bytes:
        try:
            return await self._reader.readuntil(HEAD_END)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return b""

    async def _body(self, head: bytes) -> AsyncIterator[bytes]:
        fields = _fields(head)
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            while True:
                line = await self._reader.readuntil(b"\r\n")
                yield line
                size = int(line.split(b";")[0], 16)
                async for piece in self._exactly(size + 2):
                    yield piece
                if size == 0:
                    return
        async for piece in self._exactly(int(fields.get(b"content-length", b"0"))):
            yield piece

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self._reader.read(min(size, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    async def _refuse(self, head: bytes) -> None:
        """A client that waits for 100 Continue sends no body; its connection is closed."""
        expects = b"expect" in _fields(head)
        if not expects:
            async for _ in self._body(head):
                pass
        connection = b"close" if expects else b"keep-alive"
        self._writer.write(
            b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
            b"Connection: %b\r\nContent-Length: %d\r\n\r\n" % (connection, len(SLOW_DOWN))
        )
        if not head.startswith(b"HEAD "):
            self._writer.write(SLOW_DOWN)
        await self._writer.drain()
        if expects:
            raise _Ended(reset=False)


async def _first_failure(*ways: asyncio.Task[None]) -> None:
    """Until both ways ended well, or one did not; then neither runs any more."""
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\r\n")[1:]
    return {
        name.strip().lower(): value.strip().lower()
        for name, _, value in (line.partition(b":") for line in lines)
    }


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        writer.transport.abort()
    else:
        writer.close()
