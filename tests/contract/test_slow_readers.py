"""Readers hold a connection to the store each, for as long as they like."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack

from service.devstack import Stack
from service.model.ids import BlobKey
from service.settings import MIB
from service.stores.s3.blob_store import open_blob_store
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
