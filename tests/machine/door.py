"""Asks a service over HTTP, one request after the other, from code that is not async."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import ClientSession
from multidict import CIMultiDictProxy
from yarl import URL


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["ETag"].strip('"')


class Door:
    """runner: where the client lives, and the service too if it is of this process."""

    def __init__(self, url: str, key: str, runner: asyncio.Runner) -> None:
        self.url = url
        self._runner = runner
        self._stack = AsyncExitStack()
        self._session = runner.run(self._open(key))

    async def _open(self, key: str) -> ClientSession:
        session = ClientSession(headers={"Authorization": f"Bearer {key}"}, auto_decompress=False)
        return await self._stack.enter_async_context(session)

    def close(self) -> None:
        self._runner.run(self._stack.aclose())

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        text = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        return self._runner.run(self._ask(method, URL(text, encoded=True), headers or {}, body))

    async def _ask(
        self, method: str, url: URL, headers: dict[str, str], body: dict[str, Any]
    ) -> Answer:
        async with self._session.request(method, url, headers=headers, **body) as response:
            return Answer(response.status, response.headers, await response.read())


def path_of(bucket: str, kind: str, key: str = "") -> str:
    """kind: objects, versions, metadata, …"""
    return f"/v1/buckets/{bucket}/{kind}" + (f"/{quote(key, safe='/')}" if key else "")
