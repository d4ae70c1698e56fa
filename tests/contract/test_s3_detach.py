"""A body that lends its socket: what was read already and what is still to come are all of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from blob_fixtures import OpenStore
from blobs import put, some_chunks
from lossy_proxy import lossy_proxy
from s3_servers import S3Server, wait_for

from service.settings import MIB
from service.stores.blob_port import Detachable, RawBody

SIZE = 6 * MIB + 5


async def received(raw: RawBody) -> bytes:
    """All that comes from the socket until `size_bytes` of it were read, and no byte more."""
    loop, found = asyncio.get_running_loop(), bytearray()
    with socket.socket(fileno=os.dup(raw.fd)) as lent:
        lent.setblocking(False)
        while len(found) < raw.size_bytes:
            data = await loop.sock_recv(lent, raw.size_bytes - len(found))
            assert data, "it ended early"
            found += data
        with pytest.raises(BlockingIOError):
            lent.recv(1)
    return b"".join(raw.head) + found


def detached(body: AsyncIterator[bytes]) -> RawBody | None:
    assert isinstance(body, Detachable)
    return body.detach()


@pytest.mark.parametrize("reads", [0, 1, 7])
@pytest.mark.parametrize("pause_s", [0, 0.05])
async def test_what_was_not_iterated_comes_from_the_socket(
    s3_server: S3Server, open_store: OpenStore, reads: int, pause_s: float
) -> None:
    store = await open_store(s3_server.settings())
    chunks = some_chunks(SIZE)
    key = await put(store, chunks)
    async with store.read(key, 3, SIZE) as body:
        got = bytearray()
        for _ in range(reads):
            got += await anext(body)
        await asyncio.sleep(pause_s)  # aiohttp's buffer fills
        raw = detached(body)
        assert raw is not None
        assert sum(map(len, raw.head)) + raw.size_bytes + len(got) == SIZE - 3
        with closing(raw):
            got += await received(raw)
        assert [chunk async for chunk in body] == []
    assert got == b"".join(chunks)[3:]


async def test_a_body_that_has_arrived_is_iterated(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(s3_server.settings())
    chunks = some_chunks(50_000)
    key = await put(store, chunks)
    async with store.read(key, 0, 50_000) as body:
        await asyncio.sleep(0.2)
        assert detached(body) is None
        assert b"".join([chunk async for chunk in body]) == b"".join(chunks)


async def test_the_connection_of_a_lent_socket_is_closed_and_never_used_again(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.endpoint, max_downloads=1))
        key = await put(store, some_chunks(SIZE))
        writes = proxy.open_connections
        for _ in range(3):
            async with store.read(key, 0, SIZE) as body:
                raw = detached(body)
                assert raw is not None
                await received(raw)
                raw.close()
            await wait_for(lambda: proxy.open_connections == writes)


async def test_no_socket_is_lent_where_there_are_no_descriptors(
    s3_server: S3Server, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(s3_server.settings())
    chunks = some_chunks(SIZE)
    key = await put(store, chunks)

    def no_more(_: int) -> int:
        raise OSError(24, "too many open files")

    async with store.read(key, 0, SIZE) as body:
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", no_more)
            assert detached(body) is None
        assert b"".join([chunk async for chunk in body]) == b"".join(chunks)
