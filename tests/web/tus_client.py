"""A client of tus that says exactly what it is told."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

from aiohttp import ClientResponse

from tests.web.serving import Service

BODY_TYPE = "application/offset+octet-stream"
FILMS = {"bucket": "films", "key": "a/b.mp4"}


def b64(value: bytes | str) -> str:
    raw = value.encode() if isinstance(value, str) else value
    return base64.b64encode(raw).decode()


def metadata_of(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name} {b64(value)}" for name, value in pairs.items())


class Tus:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(
        self,
        method: str,
        url: str,
        data: bytes | None = None,
        *,
        resumable: str | None = "1.0.0",
        key: str | None = None,
        **headers: str,
    ) -> ClientResponse:
        path = url.removeprefix(self.service.url)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if resumable is not None:
            told["Tus-Resumable"] = resumable
        asked = {"headers": told} | ({"data": io.BytesIO(data)} if data is not None else {})
        if key is not None:
            asked["key"] = key
        async with self.service.fetch(method, path, **asked) as response:
            await response.read()
            return response

    async def create(
        self, length: int | None = None, pairs: Mapping[str, str] = FILMS, **headers: str
    ) -> str:
        if length is not None:
            headers["Upload_Length"] = str(length)
        response = await self.ask(
            "POST", "/v1/uploads", Upload_Metadata=metadata_of(pairs), **headers
        )
        assert response.status == 201, await response.text()
        return response.headers["Location"]

    async def patch(self, url: str, offset: int, data: bytes, **headers: str) -> ClientResponse:
        told = {"Upload_Offset": str(offset), "Content_Type": BODY_TYPE} | headers
        return await self.ask("PATCH", url, data, **told)

    async def head(self, url: str) -> ClientResponse:
        response = await self.ask("HEAD", url)
        assert response.status == 200
        return response

    async def offset(self, url: str) -> int:
        return int((await self.head(url)).headers["Upload-Offset"])

    async def stored(self, key: str = "a/b.mp4") -> bytes | None:
        async with self.service.fetch("GET", f"/v1/buckets/films/objects/{key}") as response:
            return await response.read() if response.status == 200 else None
