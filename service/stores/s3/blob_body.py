"""The body of a GET from the store, as chunks, counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from service.errors import StoreUnavailable
from service.stores.s3.translation import DRIVER_ERRORS, translate


class BlobBody:
    """Exactly `size_bytes` bytes in chunks as they come from the socket, never joined.

    An iterator, not a generator: there is nothing to finalise when its reader is cancelled.
    response: aiohttp's; its reading timeout bounds each wait, and the time in which nobody asks
    does not count.
    """

    def __init__(self, response: Any, size_bytes: int) -> None:
        self._content = response.content
        self._missing_bytes = size_bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._missing_bytes == 0:
            raise StopAsyncIteration
        try:
            chunk, _ = await self._content.readchunk()
        except DRIVER_ERRORS as error:
            raise translate(error, write=False) from error
        if not chunk:
            raise StoreUnavailable("the S3 store ended a blob early")
        self._missing_bytes -= len(chunk)
        return bytes(chunk)
