"""`Expect: 100-continue`: "go on" is said when a body is wanted, not when a request arrives.

aiohttp says it before any handler runs; the table switches that off (`later`), so that a refusal
(401, 412, 413) spares the client the upload. Whoever reads a body calls `send_continue` first.
"""

from __future__ import annotations

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from service.errors import Invalid

CONTINUED = web.RequestKey("continued", bool)
UNSPOKEN = web.RequestKey("unspoken", bool)
"""Set where the framing of the request may mean something else to whoever sent it."""


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
    """Whether the final response comes while the client still waits to hear "go on", or to a
    request of `check_framing`.

    It may send the body or not, so what follows on the connection could not be told apart
    (RFC 9110 §10.1.1): such a connection is closed.
    """
    return UNSPOKEN in request or (hdrs.EXPECT in request.headers and CONTINUED not in request)


def check_framing(request: web.Request) -> None:
    """Refuse what llhttp lets through and we do not speak (RFC 9112 §2.3, §6.1), and close: another
    version, `chunked` in HTTP/1.0, where a proxy may see another end of the body, and codings
    beside it, whose bytes would be stored as if they were the content."""
    codings = ",".join(request.headers.getall(hdrs.TRANSFER_ENCODING, ())).strip().lower()
    if request.version == HttpVersion11 and codings in ("", "chunked"):
        return
    if request.version == HttpVersion10 and not codings:
        return
    request[UNSPOKEN] = True
    if request.version not in (HttpVersion10, HttpVersion11):
        raise web.HTTPVersionNotSupported
    if request.version == HttpVersion10:
        raise Invalid("a request of version 1.0 has no Transfer-Encoding")
    raise web.HTTPNotImplemented


def check_expectation(request: web.Request) -> None:
    """417 for an expectation that nobody knows (RFC 9110 §10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
        raise web.HTTPExpectationFailed
