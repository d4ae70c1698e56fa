"""A patient client of tus, whose every offset is watched: I8 on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.e2e.installation import AUTHORIZED
from tests.faults.load import BUCKET, MIB
from tests.web.tus_client import BODY_TYPE, metadata_of

GIVE_UP_S = 120
_CHUNK_BYTES = 64 << 10


class ResumedUpload:
    """next_url: the base URL of whom to ask next. pace_bytes_s: how fast it sends, 0 for as it can.

    silence_s: how long an answer is waited for.
    sent: bytes that were given away, those that were lost included. turns: how often it went on.
    """

    def __init__(
        self,
        next_url: Callable[[], str],
        data: bytes,
        key: str,
        *,
        pace_bytes_s: int = 0,
        silence_s: float = 10,
    ) -> None:
        self._next_url = next_url
        self._data = data
        self._key = key
        self._pace = pace_bytes_s
        self._timeout = ClientTimeout(total=None, sock_connect=3, sock_read=silence_s)
        self._path = ""
        self.offset = 0
        self.sent = 0
        self.turns = 0
        self.longest_pause_s = 0.0

    async def run(self) -> None:
        """Until all of it is there."""
        async with ClientSession(
            headers=AUTHORIZED | {"Tus-Resumable": "1.0.0"}, timeout=self._timeout
        ) as http:
            await self._create(http)
            give_up = time.monotonic() + GIVE_UP_S
            while self.offset < len(self._data):
                assert time.monotonic() < give_up, f"stuck at {self.offset}"
                try:
                    await self._patch(http)
                except (ClientError, TimeoutError, ConnectionError):
                    await self._ask(http, give_up)

    async def matches(self, url: str) -> bool:
        """Whether what is stored is what was sent, read from there."""
        digest, size = hashlib.sha256(), 0
        async with (
            ClientSession(url, headers=AUTHORIZED) as http,
            http.get(f"{BUCKET}/objects/{self._key}") as response,
        ):
            assert response.status == 200
            async for chunk in response.content.iter_chunked(MIB):
                digest.update(chunk)
                size += len(chunk)
        same = digest.digest() == hashlib.sha256(self._data).digest()
        return same and size == len(self._data)

    async def _create(self, http: ClientSession) -> None:
        bucket = BUCKET.rpartition("/")[2]
        headers = {
            "Upload-Length": str(len(self._data)),
            "Upload-Metadata": metadata_of({"bucket": bucket, "key": self._key}),
        }
        async with http.post(f"{self._next_url()}/v1/uploads", headers=headers) as response:
            assert response.status == 201, await response.text()
            self._path = "/v1/uploads/" + response.headers["Location"].rpartition("/")[2]

    async def _patch(self, http: ClientSession) -> None:
        self.turns += 1
        headers = {
            "Upload-Offset": str(self.offset),
            "Content-Type": BODY_TYPE,
            "Content-Length": str(len(self._data) - self.offset),
        }
        async with http.patch(
            self._next_url() + self._path, data=self._rest(self.offset), headers=headers
        ) as response:
            if response.status != 204:
                raise ClientError(f"{response.status} {await response.text()}")
            self._note(int(response.headers["Upload-Offset"]))

    async def _rest(self, start: int) -> AsyncIterator[bytes]:
        for position in range(start, len(self._data), _CHUNK_BYTES):
            chunk = self._data[position : position + _CHUNK_BYTES]
            self.sent += len(chunk)
            yield chunk
            if self._pace:
                await asyncio.sleep(len(chunk) / self._pace)

    async def _ask(self, http: ClientSession, give_up: float) -> None:
        """How far it is, from whoever answers."""
        began = time.monotonic()
        while time.monotonic() < give_up:
            try:
                async with http.head(self._next_url() + self._path) as response:
                    assert response.status not in (404, 410), "the upload is gone"
                    if response.status == 200:
                        self._note(int(response.headers["Upload-Offset"]))
                        self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - began)
                        return
            except (ClientError, TimeoutError, ConnectionError):
                pass
            await asyncio.sleep(0.1)

    def _note(self, offset: int) -> None:
        assert offset >= self.offset, f"I8: from {self.offset} back to {offset}"
        self.offset = offset
