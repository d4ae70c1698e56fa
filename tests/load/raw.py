"""HTTP/1.1 on bare sockets: clients so cheap that hundreds fit into one process beside the service.

Plain HTTP only, one request per connection, and answers that tell their length.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

MAX_HEAD_BYTES = 64 << 10
PATIENCE_S = 60.0
ANSWER_S = 600.0
"""For the answer to an upload: a busy store joins many parts."""
T = TypeVar("T")


class Broken(Exception):
    """The connection ended too early, or what came is no HTTP."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where it is, and with which API key."""

    host: str
    port: int
    key: str

    @classmethod
    def at(cls, url: str, key: str) -> Service:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is not http://HOST[:PORT]")
        return cls(parts.hostname, parts.port or 80, key)


@dataclass(frozen=True, slots=True)
class Answer:
    """headers: by lower-case names. begun: the first bytes of the body."""

    status: int
    headers: dict[str, str]
    begun: bytes

    @property
    def size_bytes(self) -> int:
        return int(self.headers.get("content-length", "0"))


class Connection:
    """One request and its answer."""

    def __init__(self, sock: socket.socket, service: Service) -> None:
        self._sock = sock
        self._service = service
        self._loop = asyncio.get_running_loop()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, service: Service, *, receive_buffer_bytes: int | None = None
    ) -> AsyncIterator[Connection]:
        """receive_buffer_bytes: what the kernel takes for a reader that does not read."""
        loop = asyncio.get_running_loop()
        (family, kind, proto, _, address), *_ = await loop.getaddrinfo(
            service.host, service.port, type=socket.SOCK_STREAM
        )
        with socket.socket(family, kind, proto) as sock:
            sock.setblocking(False)
            if receive_buffer_bytes:  # before the connection: it decides the window
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            async with asyncio.timeout(PATIENCE_S):
                await loop.sock_connect(sock, address)
            yield cls(sock, service)

    async def ask(self, method: str, path: str, **headers: str | int) -> None:
        """Send the head. headers: with `_` for `-`."""
        fields = {
            "Host": f"{self._service.host}:{self._service.port}",
            "Authorization": f"Bearer {self._service.key}",
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes | memoryview) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        """0 at the end."""
        return await self._loop.sock_recv_into(self._sock, buffer)  # type: ignore[arg-type]

    async def answer(self) -> Answer:
        """Raises Broken."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = await self._loop.sock_recv(self._sock, 4096)
            if not more or len(head) > MAX_HEAD_BYTES:
                raise Broken("the answer has no head")
            head += more
        head, _, begun = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = [*first.split(" ", 2), ""]
        if version != "HTTP/1.1" or not status.isdigit():
            raise Broken(f"no HTTP: {first[:80]!r}")
        pairs = (line.partition(":") for line in lines)
        return Answer(int(status), {n.lower(): v.strip() for n, _, v in pairs}, begun)

    async def exchange(self, body: Coroutine[Any, Any, T]) -> tuple[Answer, T | None]:
        """Send a body and await the answer; one that comes before the end of the body ends it.

        body: sends it; its result is returned unless the body was cut short. Raises Broken.
        """
        answering, sending = asyncio.create_task(self.answer()), asyncio.create_task(body)
        try:
            await asyncio.wait({answering, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not isinstance(sending.exception(), OSError | None):
                await sending
            # Where sending met a reset, the answer may have come before it.
            async with asyncio.timeout(ANSWER_S if sending.done() else None):
                answer = await answering
            whole = sending.done() and sending.exception() is None
            return answer, sending.result() if whole else None
        finally:
            for task in (answering, sending):
                task.cancel()
            await asyncio.gather(answering, sending, return_exceptions=True)

    async def body(self, answer: Answer) -> bytes:
        """All of a small body. Raises Broken."""
        body = answer.begun
        while len(body) < answer.size_bytes:
            more = await self._loop.sock_recv(self._sock, 65536)
            if not more:
                raise Broken("the body ended early")
            body += more
        return body


async def told(service: Service, method: str, path: str, *expected: int) -> Any:
    """A small request; its JSON, None where there is none. Raises Broken for another status."""
    async with asyncio.timeout(PATIENCE_S), Connection.open(service) as connection:
        await connection.ask(method, path, Content_Length=0)
        answer = await connection.answer()
        body = await connection.body(answer)
    if answer.status not in expected:
        raise Broken(f"{method} {path.partition('?')[0]}: {answer.status} {body[:300]!r}")
    return json.loads(body) if body else None


def object_path(bucket: str, key: str) -> str:
    return f"/v1/buckets/{bucket}/objects/{quote(key)}"


@asynccontextmanager
async def scratch_bucket(service: Service, *, keep: bool = False) -> AsyncIterator[str]:
    """The name of a bucket that is there for a while, with all that was put into it."""
    name = f"load-{secrets.token_hex(4)}"
    await told(service, "PUT", f"/v1/buckets/{name}", 201)
    try:
        yield name
    finally:
        if not keep:
            await _remove(service, name)


async def _remove(service: Service, bucket: str) -> None:
    """What was cut off at the end may still be committed, so until the bucket lets itself go."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            query = urlencode({"limit": 1000})
            page = await told(service, "GET", f"/v1/buckets/{bucket}/objects?{query}", 200)
            for item in page["items"]:
                await told(service, "DELETE", object_path(bucket, item["key"]), 204)
            problem = await told(service, "DELETE", f"/v1/buckets/{bucket}", 204, 409)
            if problem is None:
                return
            await asyncio.sleep(0.5)
