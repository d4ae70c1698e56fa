"""`Expect: 100-continue`: "go on" is said when a body is wanted, not when a request arrives.

aiohttp says it before any handler runs; the table switches that off (`later`), so that a refusal
(401, 412, 413) spares the client the upload. Whoever reads a body calls `send_continue` first.
"""

from __future__ import annotations

from aiohttp import HttpVersion11, hdrs, web

CONTINUED = web.RequestKey("continued", bool)


async def later(request: web.Request) -> None:
    """The table's expect handler: say nothing yet."""


async def send_continue(request: web.Request) -> None:
    """Ask for the body where the client waits for that; call it once, before the first read."""
    if request.version < HttpVersion11 or hdrs.EXPECT not in request.headers:
        return
    if request.headers[hdrs.EXPECT].lower() == "100-continue":
        request[CONTINUED] = True
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def refused_unread(request: web.BaseRequest) -> bool:
    """Whether the final response comes while the client still waits to hear "go on".

    It may send the body or not, so what follows on the connection could not be told apart
    (RFC 9110 §10.1.1): such a connection is closed.
    """
    return hdrs.EXPECT in request.headers and CONTINUED not in request


def check_expectation(request: web.Request) -> None:
    """417 for an expectation that nobody knows (RFC 9110 §10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
        raise web.HTTPExpectationFailed
