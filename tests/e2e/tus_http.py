"""tus on the wire, to a session with `TUS` for its headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED
from tests.web.tus_client import BODY_TYPE, metadata_of

TUS = AUTHORIZED | {"Tus-Resumable": "1.0.0"}


async def make_bucket(http: ClientSession) -> None:
    async with http.put("/v1/buckets/films") as response:
        assert response.status in (200, 201)


async def chunks(data: bytes, pause_s: float = 0) -> AsyncIterator[bytes]:
    for position in range(0, len(data), 256 << 10):
        yield data[position : position + (256 << 10)]
        await asyncio.sleep(pause_s)


async def create(http: ClientSession, length: int, key: str = "k") -> str:
    """The path of a new upload."""
    metadata = metadata_of({"bucket": "films", "key": key})
    headers = {"Upload-Length": str(length), "Upload-Metadata": metadata}
    async with http.post("/v1/uploads", headers=headers) as response:
        assert response.status == 201
        return "/v1/uploads/" + response.headers["Location"].rpartition("/")[2]


async def patch(
    http: ClientSession, path: str, offset: int, data: bytes, *, pause_s: float = 0
) -> int:
    headers = {
        "Upload-Offset": str(offset),
        "Content-Type": BODY_TYPE,
        "Content-Length": str(len(data)),
    }
    async with http.patch(path, data=chunks(data, pause_s), headers=headers) as response:
        return response.status


async def offset_of(http: ClientSession, path: str) -> int:
    async with http.head(path) as response:
        assert response.status == 200
        return int(response.headers["Upload-Offset"])
