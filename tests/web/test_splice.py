"""The kernel's way of a body, in this process: no blocking call, no descriptor left."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import os
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from service.devstack import Stack
from service.settings import MIB, S3, Http
from service.stores.blob_port import RawBody
from service.stores.s3 import open_blob_store
from service.stores.s3.blob_body import BlobBody
from service.web import delivery, splice
from tests.conftest import settings_for
from tests.web.serving import ROOT_KEY, Service, make_settings, running

SIZE = 9 * MIB + 1
DATA = random.Random(9).randbytes(SIZE)
PATH = "/v1/buckets/films/objects/a"


@pytest.fixture
def s3(devstack: Stack, s3_bucket: str) -> S3:
    return settings_for(devstack, s3_bucket).s3


@pytest.fixture
async def service(s3: S3) -> AsyncIterator[Service]:
    """On a real S3 store, with an object in it."""
    blobs = await open_blob_store(s3)
    await blobs.ensure_bucket()
    try:
        async with running(make_settings(http=Http(shutdown_grace_s=1), s3=s3), (), blobs) as found:
            async with found.fetch("PUT", "/v1/buckets/films"):
                pass
            async with found.fetch("PUT", PATH, data=io.BytesIO(DATA)) as response:
                assert response.status == 201
            yield found
    finally:
        await blobs.close()


def lent_fds() -> list[str]:
    links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return sorted(link for link in links if "pipe:" in link or "socket:" in link)


def spliced_bytes(service: Service) -> float:
    return service.runtime.metrics.bytes_spliced._value.get()


async def test_a_large_body_is_moved_by_the_kernel(service: Service) -> None:
    async with service.fetch("GET", PATH) as response:
        assert await response.read() == DATA
    first = lent_fds()
    async with service.fetch("GET", PATH, headers={"Range": "bytes=5-"}) as response:
        assert await response.read() == DATA[5:]
    async with asyncio.timeout(5):  # the client has the last byte before the handler ends
        while len(lent_fds()) > len(first):
            await asyncio.sleep(0.01)
    assert spliced_bytes(service) > SIZE


async def test_a_small_body_is_copied(service: Service) -> None:
    async with service.fetch("GET", PATH, headers={"Range": f"bytes=0-{MIB - 1}"}) as response:
        assert await response.read() == DATA[:MIB]
    assert spliced_bytes(service) == 0


async def test_a_head_opens_nothing(service: Service) -> None:
    async with service.fetch("HEAD", PATH) as response:
        assert (response.status, response.content_length) == (200, SIZE)
    assert spliced_bytes(service) == 0


@pytest.mark.parametrize("refused", ["pipe2", "dup"])
async def test_without_descriptors_a_body_is_copied(
    service: Service, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def no_more(*_: object) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(splice.os, refused, no_more)
    async with service.fetch("GET", PATH) as response:
        assert await response.read() == DATA
    assert spliced_bytes(service) == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
async def test_where_the_kernel_does_not_splice_a_body_is_copied(
    service: Service, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As in a container whose seccomp profile does not know the call."""

    def refused(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(splice.os, "splice", refused)
    async with service.fetch("GET", PATH) as response:
        assert await response.read() == DATA
    assert spliced_bytes(service) == 0


async def test_a_pipe_that_may_not_grow_moves_less_at_a_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "PIPE_BYTES", 1 << 40)
    async with service.fetch("GET", PATH) as response:
        assert await response.read() == DATA
    assert spliced_bytes(service) > 0


@pytest.fixture
async def narrow(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.StreamReader]:
    """The answer to a GET through sockets that take 4 KiB at a time."""
    usual = delivery.splicer_for

    def narrowed(request: web.Request, *args: Any) -> splice.Splicer | None:
        plain = request.transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return usual(request, *args)

    monkeypatch.setattr(delivery, "splicer_for", narrowed)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", service.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {ROOT_KEY}\r\n\r\n".encode()
    )
    yield reader
    writer.close()


async def test_the_kernel_does_not_overtake_what_aiohttp_still_holds(
    service: Service, narrow: asyncio.StreamReader
) -> None:
    await asyncio.sleep(0.3)
    raw = await narrow.read(-1)
    assert raw.partition(b"\r\n\r\n")[2] == DATA
    assert spliced_bytes(service) > 0


def pipe_sizes() -> list[int]:
    names = os.listdir("/proc/self/fd")
    pipes = [name for name in names if "/pipe:" in os.path.realpath(f"/proc/self/fd/{name}")]
    return [fcntl.fcntl(int(name), fcntl.F_GETPIPE_SZ) for name in pipes]


async def test_what_was_read_before_is_not_kept_while_the_kernel_moves_the_rest(
    service: Service, narrow: asyncio.StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: list[RawBody] = []
    detach = BlobBody.detach

    def watched(self: BlobBody) -> RawBody | None:
        raw = detach(self)
        assert raw is not None
        assert raw.head
        lent.append(raw)
        return raw

    monkeypatch.setattr(BlobBody, "detach", watched)
    got = 0
    while spliced_bytes(service) == 0:
        got += len(await narrow.read(4096))
        assert got < SIZE
    assert not lent[0].head


async def test_a_slow_client_leaves_the_large_pipes_to_others(
    service: Service, narrow: asyncio.StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "_SLOW_S", 0.01)
    raw = await narrow.readuntil(b"\r\n\r\n")
    assert splice.PIPE_BYTES in pipe_sizes()
    while splice.SLOW_PIPE_BYTES not in pipe_sizes():
        assert len(raw) < SIZE
        raw += await narrow.read(4096)
        await asyncio.sleep(0.001)
    raw += await narrow.read(-1)
    assert raw.partition(b"\r\n\r\n")[2] == DATA
