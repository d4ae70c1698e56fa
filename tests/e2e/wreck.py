"""A service that was killed three times in the midst of uploads, and what it had acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession

from tests.e2e.installation import AUTHORIZED, Installation, Process, eventually

BUCKET = "/v1/buckets/crash"
UPLOADS_AT_ONCE = 20
SIZES = (10, 70_000, 9 << 20, 20 << 20)


@dataclass
class Wreck:
    """begun, acknowledged: keys, the latter with the SHA-256 of what got a 201."""

    installation: Installation
    begun: set[str] = field(default_factory=set)
    acknowledged: dict[str, bytes] = field(default_factory=dict)

    async def visible(self) -> set[str]:
        """The keys that a new process lists, each read whole and compared."""
        with self.installation.serving() as process:
            async with ClientSession(process.url, headers=AUTHORIZED) as http:
                keys = set(await list_all(http))
                assert keys <= self.begun
                for key in keys:
                    async with http.get(f"{BUCKET}/objects/{key}") as response:
                        assert response.status == 200
                        found = hashlib.sha256(await response.read()).digest()
                    # One whose 201 was lost with the process may be there, and is whole then.
                    assert found == hashlib.sha256(content(key)).digest()
        return keys


def content(key: str) -> bytes:
    number = sum(map(int, key.split("/")[1:]))
    return hashlib.shake_256(key.encode()).digest(1000) * (SIZES[number % 4] // 1000 + 1)


async def make_wreck(installation: Installation) -> Wreck:
    wreck = Wreck(installation)
    for round_ in range(3):
        process = installation.start()
        if round_ == 0:
            await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            uploads = asyncio.gather(
                *(_keep_uploading(wreck, http, f"r{round_}/{n}") for n in range(UPLOADS_AT_ONCE))
            )
            enough = len(wreck.acknowledged) + 3
            await asyncio.sleep(0.4 + 0.5 * round_)
            await eventually(lambda enough=enough: len(wreck.acknowledged) > enough, within_s=30)
            process.kill()
            await uploads
    return wreck


async def _keep_uploading(wreck: Wreck, http: ClientSession, prefix: str) -> None:
    """One after the other, until the service is gone."""
    with suppress(ClientError, ConnectionError):
        for number in range(10_000):
            key = f"{prefix}/{number}"
            wreck.begun.add(key)
            data = content(key)
            async with http.put(f"{BUCKET}/objects/{key}", data=pieces(data)) as response:
                assert response.status == 201, await response.text()
            wreck.acknowledged[key] = hashlib.sha256(data).digest()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 256 << 10):
        yield data[start : start + (256 << 10)]


async def make_bucket(process: Process) -> None:
    async with (
        ClientSession(process.url, headers=AUTHORIZED) as http,
        http.put(BUCKET) as response,
    ):
        assert response.status == 201


async def list_all(http: ClientSession) -> list[str]:
    keys: list[str] = []
    params = {"limit": "1000"}
    while True:
        async with http.get(f"{BUCKET}/objects", params=params) as response:
            page = await response.json()
        keys += [item["key"] for item in page["items"]]
        if page["next"] is None:
            return keys
        params["cursor"] = page["next"]


async def assert_store_has_exactly(installation: Installation, versions: int) -> None:
    found = await installation.store_keys()
    assert len(found) == versions, found
    assert not installation.multipart_files()
