"""Copies, moves and restores by the installed command, on real servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, LEASE_S, Installation
from tests.e2e.wreck import BUCKET, assert_store_has_exactly, make_bucket

MIB = 1 << 20
PARTS = {"UPLOADS__COPY_PART_BYTES": 5 * MIB}


@pytest.fixture
def alone(make_installation: Callable[[], Installation]) -> Installation:
    return make_installation()


async def post(http: ClientSession, verb: str, source: str, key: str) -> dict[str, Any]:
    body = {"source": {"key": source}, "destination": {"key": key}}
    async with http.post(f"{BUCKET}/{verb}", json=body) as response:
        told: dict[str, Any] = await response.json()
        assert response.status == 201, told
    return told


async def read(http: ClientSession, key: str) -> bytes | None:
    async with http.get(f"{BUCKET}/objects/{key}") as response:
        return await response.read() if response.status == 200 else None


async def test_copies_and_moves_leave_exactly_their_bytes(alone: Installation) -> None:
    """17 MiB are four parts of a copy, 1,000 bytes one CopyObject."""
    large, small = random.Random(1).randbytes(17 * MIB + 3), random.Random(2).randbytes(1000)
    with alone.serving(**PARTS) as process:
        await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            for key, data in (("large", large), ("small", small)):
                async with http.put(f"{BUCKET}/objects/{key}", data=BytesIO(data)) as response:
                    assert response.status == 201
                    digests = (await response.json())["digests"]
                copied = await post(http, "copies", key, f"{key}-copy")
                assert copied["digests"] == digests
                assert await read(http, f"{key}-copy") == data
            keys = set(await alone.store_keys())
            assert len(keys) == 4
            await post(http, "moves", "large", "moved")
            assert set(await alone.store_keys()) == keys
            assert await read(http, "large") is None
            assert await read(http, "moved") == large
            async with http.delete(f"{BUCKET}/objects/large-copy"):
                pass
            await asyncio.sleep(0.3)
            await asyncio.to_thread(alone.sweep)
            await assert_store_has_exactly(alone, 3)
            assert await read(http, "moved") == large
            assert await read(http, "small-copy") == small


async def test_a_service_killed_in_mid_copy_leaves_nothing_but_the_original(
    alone: Installation,
) -> None:
    data = random.Random(3).randbytes(60 * MIB)
    process = alone.start(**PARTS, UPLOADS__PARTS_IN_FLIGHT=1)
    await make_bucket(process)
    async with ClientSession(process.url, headers=AUTHORIZED) as http:
        async with http.put(f"{BUCKET}/objects/a", data=BytesIO(data)) as response:
            assert response.status == 201
        copies = [asyncio.create_task(post(http, "copies", "a", f"b{n}")) for n in range(4)]
        await asyncio.sleep(0.1)
        process.kill()
        done = await asyncio.gather(*copies, return_exceptions=True)
    acknowledged = [each for each in done if not isinstance(each, BaseException)]
    assert len(acknowledged) < len(copies), "the kill came too late to cut anything"
    await asyncio.sleep(LEASE_S + 0.2)
    for _ in range(2):
        report = await asyncio.to_thread(alone.sweep)
    assert (report["open"], report["tombstones"]) == (0, 0)
    with alone.serving() as process:
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            async with http.get(f"{BUCKET}/objects") as response:
                names = [item["key"] for item in (await response.json())["items"]]
            assert len(names) >= 1 + len(acknowledged)
            for name in names:
                assert await read(http, name) == data
    await assert_store_has_exactly(alone, len(names))
