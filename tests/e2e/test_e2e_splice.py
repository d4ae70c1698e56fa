"""Large downloads, moved by the kernel and copied by the process: the same bytes, the same ends."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import io
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientPayloadError, ClientSession

from tests.e2e.installation import AUTHORIZED, ROOT_KEY, Installation, Process, eventually
from tests.faults.chaos import ChaosProxy, Cut, Refuse, chaos_proxy, request_line

MIB = 1 << 20
SIZE = 24 * MIB + 13
DATA = hashlib.shake_256(b"splice").digest(SIZE)
BLOB_GET = request_line("GET", "/blobs/")
IDLE_S = 2


class Service:
    """A process whose S3 store is behind a proxy, and an object in it."""

    def __init__(self, process: Process, proxy: ChaosProxy, *, splice: bool) -> None:
        self.process, self.proxy, self.splice = process, proxy, splice
        self.path = ""

    def lent_fds(self) -> int:
        """Pipes, and descriptors of a socket that has another one."""
        links = []
        for name in os.listdir(folder := f"/proc/{self.process.popen.pid}/fd"):
            with suppress(FileNotFoundError):
                links.append(os.readlink(f"{folder}/{name}"))
        sockets = [link for link in links if link.startswith("socket:")]
        return sum(link.startswith("pipe:") for link in links) + len(sockets) - len(set(sockets))

    async def spliced_bytes(self) -> int:
        async with ClientSession(self.process.url) as http, http.get("/metrics") as response:
            text = await response.text()
        line = next(line for line in text.splitlines() if line.startswith("mediagate_spliced"))
        return int(float(line.split()[-1]))

    async def connect(self, *, receive_bytes: int = 0) -> Client:
        """receive_bytes: of the client's buffer in the kernel, where it is to be small."""
        plain = socket.socket()
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.process.port))
        return Client(self, *await asyncio.open_connection(sock=plain, limit=1024))


class Client:
    """A client by hand, which reads when it likes."""

    def __init__(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._service, self.reader, self.writer = service, reader, writer

    def ask(self, *fields: str, version: str = "1.1", path: str | None = None) -> None:
        head = [f"GET {path or self._service.path} HTTP/{version}", "Host: x", *fields]
        head.append(f"Authorization: Bearer {ROOT_KEY}")
        self.writer.write(("\r\n".join(head) + "\r\n\r\n").encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), fields

    async def body(self, size: int = SIZE) -> bytes:
        return await self.reader.readexactly(size)

    def abort(self) -> None:
        self.writer.transport.abort()


@pytest.fixture(scope="module", params=[True, False], ids=["splice", "copy"])
async def service(
    request: pytest.FixtureRequest, make_installation: Callable[[], Installation]
) -> AsyncIterator[Service]:
    installation = make_installation()
    store = urlsplit(installation.stack.s3_endpoint).port
    assert store is not None
    async with chaos_proxy(store) as proxy:
        settings = {
            "S3__ENDPOINT": proxy.url,
            "S3__REQUEST_TIMEOUT_S": 2,
            "HTTP__SPLICE": request.param,
            "HTTP__IDLE_TIMEOUT_S": IDLE_S,
        }
        process = await asyncio.to_thread(installation.start, **settings)
        found = Service(process, proxy, splice=request.param)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            bucket = f"/v1/buckets/b-{secrets.token_hex(4)}"
            async with http.put(bucket) as response:
                assert response.status == 201
            found.path = f"{bucket}/objects/a.bin"
            async with http.put(found.path, data=io.BytesIO(DATA)) as response:
                assert response.status == 201
        yield found
        assert await asyncio.to_thread(process.terminate) == 0
        assert not process.events("request_failed")
        assert "Traceback" not in process.log.read_text()


@pytest.fixture(autouse=True)
async def _nothing_is_left(service: Service) -> AsyncIterator[None]:
    """No descriptor, no fault; and the bytes went the way that is tested."""
    lent, spliced = service.lent_fds(), await service.spliced_bytes()
    yield
    service.proxy.faults.clear()
    await eventually(lambda: service.lent_fds() == lent)
    moved = await service.spliced_bytes() - spliced
    assert (moved > 0) is service.splice


@pytest.fixture
async def http(service: Service) -> AsyncIterator[ClientSession]:
    async with ClientSession(service.process.url, headers=AUTHORIZED) as session:
        yield session


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        (None, 0, SIZE),
        ("bytes=1-", 1, SIZE),
        ("bytes=-9000000", SIZE - 9_000_000, SIZE),
        (f"bytes=77-{77 + MIB}", 77, 78 + MIB),
        (f"bytes=5000000-{5_000_000 + 3 * MIB}", 5_000_000, 5_000_001 + 3 * MIB),
    ],
)
async def test_ranges_are_exact(
    http: ClientSession, service: Service, asked: str | None, start: int, end: int
) -> None:
    async with http.get(service.path, headers={"Range": asked} if asked else {}) as response:
        assert response.status == (206 if asked else 200)
        assert response.content_length == end - start
        assert await response.read() == DATA[start:end]


async def test_several_ranges_are_exact(http: ClientSession, service: Service) -> None:
    spans = [(0, 9), (MIB, 4 * MIB), (SIZE - 2 * MIB, SIZE - 1)]
    asked = "bytes=" + ",".join(f"{first}-{last}" for first, last in spans)
    async with http.get(service.path, headers={"Range": asked}) as response:
        assert response.status == 206
        body = await response.read()
        assert response.content_length == len(body)
        top = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    parts = email.message_from_bytes(top + body, policy=email.policy.HTTP).iter_parts()
    wanted = [f"bytes {first}-{last}/{SIZE}" for first, last in spans]
    assert [part["Content-Range"] for part in parts] == wanted
    for first, last in spans:
        assert DATA[first : last + 1] in body


async def test_what_was_sent_is_counted(http: ClientSession, service: Service) -> None:
    async with http.get(service.path, headers={"X-Request-Id": "counted"}) as response:
        assert len(await response.read()) == SIZE
    await eventually(lambda: requests(service, "counted"))
    (line,) = requests(service, "counted")
    assert line["status"] == 200
    assert SIZE < line["sent_bytes"] < SIZE + 2000


def requests(service: Service, request_id: str) -> list[dict]:
    return [
        event for event in service.process.events("request") if event["request_id"] == request_id
    ]


async def test_a_connection_is_kept_for_the_next_request(service: Service) -> None:
    client = await service.connect()
    for _ in range(2):
        client.ask()
        assert (await client.head())[0] == 200
        assert await client.body() == DATA
    client.ask("Range: bytes=5-9")
    assert (await client.head())[0] == 206
    assert await client.body(5) == DATA[5:10]
    client.abort()


async def test_requests_that_are_sent_ahead_are_answered_in_order(service: Service) -> None:
    client = await service.connect()
    client.ask()
    client.ask("Range: bytes=7-2000000")
    client.ask(path="/healthz")
    assert (await client.head())[0] == 200
    assert await client.body() == DATA
    assert (await client.head())[0] == 206
    assert await client.body(2_000_000 - 6) == DATA[7:2_000_001]
    assert (await client.head())[0] == 200
    client.abort()


@pytest.mark.parametrize(
    ("version", "fields"), [("1.0", ()), ("1.1", ("Connection: close",))], ids=["1.0", "close"]
)
async def test_a_connection_that_is_not_kept_ends_after_the_last_byte(
    service: Service, version: str, fields: tuple[str, ...]
) -> None:
    client = await service.connect()
    client.ask(*fields, version=version)
    assert (await client.head())[0] == 200
    assert await client.reader.read(-1) == DATA
    client.abort()


@pytest.mark.parametrize("how", ["close", "reset", "hold"])
async def test_a_store_that_breaks_in_mid_body_is_resumed(
    http: ClientSession, service: Service, how: str
) -> None:
    cut = Cut(picks=BLOB_GET, way="answer", after_bytes=5 * MIB + 7, how=how, times=3)
    service.proxy.faults.append(cut)
    async with http.get(service.path, headers={"Range": "bytes=3-"}) as response:
        assert await response.read() == DATA[3:]
    assert cut.met == 3


async def test_a_store_that_refuses_for_a_while_in_mid_body_is_resumed(
    http: ClientSession, service: Service
) -> None:
    service.proxy.faults.append(
        Cut(picks=BLOB_GET, way="answer", after_bytes=5 * MIB, how="reset", times=1)
    )
    service.proxy.faults.append(Refuse(picks=BLOB_GET, times=2))
    async with http.get(service.path) as response:
        assert await response.read() == DATA


async def test_a_store_that_is_gone_for_good_cuts_the_connection(
    http: ClientSession, service: Service
) -> None:
    service.proxy.faults.append(
        Cut(picks=BLOB_GET, way="answer", after_bytes=5 * MIB, how="reset", times=1)
    )
    service.proxy.faults.append(Cut(picks=BLOB_GET, way="request", how="reset"))
    received = bytearray()
    async with http.get(service.path, headers={"X-Request-Id": "cut"}) as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):  # noqa: PT012 - the last of many
            async for chunk in response.content.iter_any():
                received += chunk
    assert 0 < len(received) < SIZE
    assert DATA.startswith(received)
    await eventually(lambda: requests(service, "cut"))
    (line,) = requests(service, "cut")
    assert line["status"] == 503
    assert line["sent_bytes"] < SIZE


async def test_a_client_that_stalls_is_cut_off(service: Service) -> None:
    client = await service.connect(receive_bytes=65_536)
    client.ask("X-Request-Id: stalled")
    assert (await client.head())[0] == 200
    await eventually(lambda: requests(service, "stalled"), within_s=4 * IDLE_S + 5)
    (line,) = requests(service, "stalled")
    assert line["status"] == 408
    assert line["duration_ms"] < (4 * IDLE_S + 2) * 1000
    client.abort()


async def test_a_client_that_is_slow_but_reads_is_served(service: Service) -> None:
    """Slower than the kernel's buffer tells of room within the idle time."""
    client = await service.connect(receive_bytes=65_536)
    client.ask("Range: bytes=0-6999999")
    assert (await client.head())[0] == 206
    received = bytearray()
    for _ in range(5 * IDLE_S):
        received += await client.reader.readexactly(100_000)
        await asyncio.sleep(0.5)
    received += await client.body(7_000_000 - len(received))
    assert received == DATA[:7_000_000]
    client.abort()


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_client_that_goes_away_ends_its_download(service: Service, way: str) -> None:
    client = await service.connect(receive_bytes=65_536)
    client.ask(f"X-Request-Id: gone-{way}")
    await client.head()
    await client.body(100_000)
    if way == "reset":
        client.abort()
    else:
        client.writer.close()
    await eventually(lambda: requests(service, f"gone-{way}"), within_s=1.5)
    (line,) = requests(service, f"gone-{way}")
    assert line["status"] == 499


async def test_slow_and_fast_readers_at_once_get_their_bytes(service: Service) -> None:
    async def slowly() -> bool:
        client = await service.connect(receive_bytes=65_536)
        client.ask("Range: bytes=0-4999999")
        await client.head()
        received = bytearray()
        while len(received) < 5_000_000:
            received += await client.reader.readexactly(250_000)
            await asyncio.sleep(0.1)
        client.abort()
        return received == DATA[:5_000_000]

    async def fast() -> bool:
        client = await service.connect()
        client.ask()
        await client.head()
        found = await client.body() == DATA
        client.abort()
        return found

    readers = [slowly(), fast(), slowly(), fast(), slowly(), fast()]
    assert await asyncio.gather(*readers) == [True] * 6
