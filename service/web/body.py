"""A request's body as chunks, and what becomes of a connection whose body nobody finished.

The body is asked for at the first pull, not before (`100 Continue`), so a request that is refused
costs the client no upload. Nothing is decoded and nothing is kept: TCP pushes back on a client that
is faster than whoever pulls. aiohttp tells the end of a body in several ways, which all end here: a
broken chunk as RequestPayloadError, a lost client as ConnectionResetError (and by cancelling the
handler). A known length was compared with the limits before the first pull, and llhttp never hands
on more than that.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import hdrs, web

from service.errors import IncompleteBody, SlowClient
from service.web.expect import send_continue
from service.web.state import runtime_of

GATHER_BYTES = 16 << 10
_GATHER_S = 1.0
_SMALL_REST_BYTES = 64 << 10


def body_size(request: web.Request) -> int | None:
    """In bytes, as announced: 0 for no body at all, None for a chunked one."""
    if hdrs.TRANSFER_ENCODING in request.headers:
        return None
    return request.content_length or 0


class RequestBody:
    """Chunks of >= 1 byte; consumed once. Raises IncompleteBody, SlowClient.

    Only the time in which we wait for the client counts against `http.idle_timeout_s`. What
    trickles in is gathered for up to a second: a Python object for each byte would cost forty times
    what the byte budget knows of.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._idle_timeout_s = runtime_of(request).settings.http.idle_timeout_s
        self._asked = False

    def __aiter__(self) -> RequestBody:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._read(self._idle_timeout_s)
        if chunk and len(chunk) < GATHER_BYTES:
            chunk += await self._gather(GATHER_BYTES - len(chunk))
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _gather(self, wanted_bytes: int) -> bytes:
        """More of a body that comes in crumbs; what is wrong with it the next pull tells."""
        gathered = bytearray()
        give_up = time.monotonic() + _GATHER_S
        while len(gathered) < wanted_bytes and (left_s := give_up - time.monotonic()) > 0:
            try:
                more = await self._read(left_s)
            except (SlowClient, IncompleteBody):
                break
            if not more:
                break
            gathered += more
        return bytes(gathered)

    async def _read(self, timeout_s: float) -> bytes:
        """What has arrived, b"" at the end of the body."""
        try:
            if not self._asked:
                self._asked = True
                await send_continue(self._request)
            if self._request.transport is None:
                raise IncompleteBody("the client went away")
            async with asyncio.timeout(timeout_s):
                return await self._request.content.readany()
        except TimeoutError as error:
            raise SlowClient(f"nothing came for {self._idle_timeout_s:g} s") from error
        except web.RequestPayloadError as error:
            raise IncompleteBody("the body is broken: not valid HTTP framing") from error
        except ConnectionError as error:
            raise IncompleteBody("the client went away") from error


async def close_unread(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: no next request on a connection whose body we do not know the end of.

    A small rest is read and dropped by aiohttp after the response, and the connection lives on.
    Else the response says `Connection: close`, and aiohttp goes on reading for its lingering time,
    so that the client gets to see the response instead of a reset. (A client that still waits for
    `100 Continue` is closed by `middleware.stamp`.)
    """
    content = request.content
    if content.is_eof() and content.exception() is None:
        return
    length = request.content_length
    rest_is_small = (
        content.exception() is None
        and length is not None
        and length - content.total_bytes <= _SMALL_REST_BYTES
    )
    if not rest_is_small:
        response.force_close()
        response.headers["Connection"] = "close"
