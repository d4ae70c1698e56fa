"""The body of a GET from the store, as chunks, counted, or as the socket that it comes from."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator

from aiohttp import ClientResponse, hdrs

from service.errors import StoreUnavailable
from service.stores.blob_port import RawBody
from service.stores.s3.translation import DRIVER_ERRORS, translate


class BlobBody:
    """Exactly `size_bytes` bytes in chunks as they come from the socket, never joined.

    An iterator, not a generator: there is nothing to finalise when its reader is cancelled.
    response: its reading timeout bounds each wait, and the time in which nobody asks does not
    count. silence_s: what that timeout is.
    """

    def __init__(self, response: ClientResponse, size_bytes: int, silence_s: float) -> None:
        self._response = response
        self._content = response.content
        self._missing_bytes = size_bytes
        self._silence_s = silence_s
        self._drained: deque[bytes] = deque()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._missing_bytes == 0:
            raise StopAsyncIteration
        chunk = self._drained.popleft() if self._drained else await self._read()
        if not chunk:
            raise StoreUnavailable("the S3 store ended a blob early")
        self._missing_bytes -= len(chunk)
        return chunk

    def detach(self) -> RawBody | None:
        """`blob_port.Detachable`. The connection stays the response's, and is closed with it."""
        fd = self._duplicate()
        if fd is None:
            return None
        try:
            self._drain()
        except DRIVER_ERRORS as error:
            os.close(fd)
            raise translate(error, write=False) from error
        head_bytes = sum(map(len, self._drained))
        if self._content.is_eof() or head_bytes >= self._missing_bytes:
            os.close(fd)
            return None
        head, rest_bytes = self._drained, self._missing_bytes - head_bytes
        self._drained = deque()
        self._missing_bytes = 0
        return RawBody(head, fd, rest_bytes, self._silence_s)

    async def _read(self) -> bytes:
        try:
            chunk, _ = await self._content.readchunk()
        except DRIVER_ERRORS as error:
            raise translate(error, write=False) from error
        return bytes(chunk)

    def _duplicate(self) -> int | None:
        """The socket where it carries the bytes themselves: no TLS, no chunks."""
        connection = self._response.connection
        transport = connection.transport if connection else None
        if (
            transport is None
            or transport.is_closing()
            or transport.get_extra_info("sslcontext") is not None
            or hdrs.TRANSFER_ENCODING in self._response.headers
        ):
            return None
        try:
            return os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # out of descriptors: then without
            return None

    def _drain(self) -> None:
        """Stop aiohttp from reading, and take what it has read.

        To take something lets it read on, and parse what it had put aside; so again until nothing
        comes. Nothing arrives meanwhile, for the event loop does not run.
        """
        connection = self._response.connection
        protocol = connection.protocol if connection else None
        while protocol is not None:
            protocol.pause_reading()
            data = self._content.read_nowait()
            if not data:
                return
            self._drained.append(data)
            if self._content.is_eof():
                return
