"""Readers hold a connection to the store each, for as long as they like."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack

import pytest

from service.devstack import Stack
from service.errors import StoreUnavailable
from service.model.ids import BlobKey
from service.settings import MIB
from service.stores.breaker import Breaker
from service.stores.ports import BlobStore
from service.stores.s3.blob_store import open_blob_store
from service.stores.wrappers import watched_blobs
from service.usecases.digests import crc64nvme
from tests.conftest import settings_for


async def test_more_readers_than_there_are_connections_for_parts_starve_nobody(
    devstack: Stack, s3_bucket: str
) -> None:
    usual = settings_for(devstack, s3_bucket).s3
    store = await open_blob_store(usual.model_copy(update={"max_connections": 3}))
    data, key = secrets.token_bytes(MIB), BlobKey(f"slow/{secrets.token_hex(8)}")
    try:
        await store.ensure_bucket()
        await store.put(key, [data], crc64nvme(data).to_bytes(8, "big"))
        async with AsyncExitStack() as slow, asyncio.timeout(5):
            for _ in range(6):
                await slow.enter_async_context(store.read(key, 0, MIB))
            async with store.read(key, 5, 10) as chunks:
                assert b"".join([chunk async for chunk in chunks]) == data[5:10]
            await store.ping()
    finally:
        await store.close()


async def test_readers_that_take_every_connection_do_not_look_like_a_silent_store(
    devstack: Stack, s3_bucket: str
) -> None:
    """Or else the breaker would refuse uploads too, because some download slowly."""
    few = {"max_downloads": 2, "request_timeout_s": 1}
    store = await open_blob_store(settings_for(devstack, s3_bucket).s3.model_copy(update=few))
    breaker = Breaker("blob store")
    blobs = watched_blobs(store, breaker)
    data, key = secrets.token_bytes(MIB), BlobKey(f"slow/{secrets.token_hex(8)}")
    try:
        await store.ensure_bucket()
        await store.put(key, [data], crc64nvme(data).to_bytes(8, "big"))
        async with AsyncExitStack() as slow:
            for _ in range(2):
                await slow.enter_async_context(blobs.read(key, 0, MIB))
            late = [asyncio.create_task(_read(blobs, key)) for _ in range(6)]
            for error in await asyncio.gather(*late, return_exceptions=True):
                assert isinstance(error, StoreUnavailable)
                assert "max_downloads" in error.detail
            assert not breaker.is_open
        async with asyncio.timeout(5):
            assert await _read(blobs, key) == data
            with pytest.raises(StoreUnavailable):
                async with blobs.read(key, 0, MIB), blobs.read(key, 0, MIB):
                    await _read(blobs, key)
    finally:
        await store.close()


async def _read(blobs: BlobStore, key: BlobKey) -> bytes:
    async with blobs.read(key, 0, MIB) as chunks:
        return b"".join([chunk async for chunk in chunks])
