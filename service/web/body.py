"""A request's body as chunks, in the use cases' terms.

Chunks are handed on as they came from the socket, never joined. A wait longer than
`http.idle_timeout_s` is SlowClient; the time in which nobody asks for a chunk never counts. A body
that breaks off, is broken, or is shorter than it said is IncompleteBody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import ClientPayloadError, http_exceptions, web

from service.errors import IncompleteBody, SlowClient
from service.web.expect import send_continue
from service.web.state import runtime_of

BROKEN = (
    web.RequestPayloadError,
    ClientPayloadError,
    http_exceptions.HttpProcessingError,
    ConnectionError,
)
"""What aiohttp raises from a body: lost client, bad chunking, fewer bytes than Content-Length."""


@contextmanager
def translated() -> Iterator[None]:
    """Around every read of a body."""
    try:
        yield
    except BROKEN as error:
        raise IncompleteBody("the request body broke off or is broken") from error
    except TimeoutError as error:
        raise SlowClient("nothing came for too long") from error


async def chunks_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body's bytes, chunks of >= 1 byte. The first pull says `100 Continue` if asked to.

    Raises IncompleteBody, SlowClient.
    """
    idle_s = runtime_of(request).settings.http.idle_timeout_s
    content = request.content
    with translated():
        await send_continue(request)
        while True:
            async with asyncio.timeout(idle_s):
                chunk, _ = await content.readchunk()
            if chunk:
                yield chunk
            elif content.at_eof():
                return
