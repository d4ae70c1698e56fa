"""CORS by `http.cors_origins`: exact origins, or `*` for any; keys travel in a header, no cookie.

A preflight carries no key and gets an answer for every path, known or not: it tells nothing.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from service.web.middleware import Handler
from service.web.state import runtime_of

METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
EXPOSED = ", ".join(
    (
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Length",
        "Content-Range",
        "Date",
        "ETag",
        "Last-Modified",
        "Link",
        "Location",
        "Repr-Digest",
        "Retry-After",
        "Tus-Checksum-Algorithm",
        "Tus-Extension",
        "Tus-Max-Size",
        "Tus-Resumable",
        "Tus-Version",
        "Upload-Complete",
        "Upload-Concat",
        "Upload-Defer-Length",
        "Upload-Draft-Interop-Version",
        "Upload-Expires",
        "Upload-Length",
        "Upload-Limit",
        "Upload-Metadata",
        "Upload-Offset",
        "X-Request-Id",
        "X-Tags",
        "X-Version-Id",
    )
)
_MAX_AGE_S = 7200


@web.middleware
async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not _is_preflight(request):
        return await handler(request)
    headers = {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
    if _allowed(request):
        headers |= {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(METHODS),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(_MAX_AGE_S),
        }
        asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
        if asked:
            headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
    return web.Response(status=204, headers=headers)


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: problems and streamed bodies are readable to allowed origins too."""
    if not runtime_of(request).settings.http.cors_origins:
        return
    if "Origin" not in response.headers.get(hdrs.VARY, ""):
        response.headers.add(hdrs.VARY, "Origin")
    if _allowed(request):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        if not _is_preflight(request):
            exposed = [EXPOSED, *(name for name in response.headers if name.startswith("X-Meta-"))]
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(exposed)


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _allowed(request: web.Request) -> bool:
    origin = request.headers.get(hdrs.ORIGIN)
    origins = runtime_of(request).settings.http.cors_origins
    return origin is not None and (origin in origins or "*" in origins)
