"""What every answer of a protocol carries, problems included."""

from __future__ import annotations

from aiohttp import web

from service.protocol.resumable_uploads import UPLOAD_COMPLETE
from service.protocol.tus import UPLOADS, VERSION

TUS_RESUMABLE = "Tus-Resumable"
COMPLETE = web.RequestKey("complete", str)
"""What Upload-Complete is to say where the handler does not get to say it."""


async def stamp_protocol(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare."""
    if TUS_RESUMABLE in request.headers and request.path.startswith(UPLOADS):
        response.headers[TUS_RESUMABLE] = VERSION
    if COMPLETE in request:
        response.headers.setdefault(UPLOAD_COMPLETE, request[COMPLETE])
