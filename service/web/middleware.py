"""What surrounds every handler, from the outside in: observe, then tell problems.

Headers that belong to every response are set by `stamp` when its head is about to be sent, since a
streamed response is out of reach of a middleware by the time it returns.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from service.model.ids import new_id
from service.web.expect import check_expectation, check_framing, refused_unread
from service.web.problems import problem_of, problem_response
from service.web.state import REQUEST_ID, STARTED, runtime_of

log = structlog.get_logger("mediagate.access")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_CLIENT_GONE = 499
"""nginx's number for it: nobody is left to read a status."""


def _request_id(request: web.Request) -> str:
    """The client's own id where it is harmless in logs and headers, else a fresh one."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id()


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, count it, log it."""
    request[REQUEST_ID] = _request_id(request)
    structlog.contextvars.bind_contextvars(request_id=request[REQUEST_ID])
    started = time.perf_counter()
    status, sent_bytes = _CLIENT_GONE, None
    metrics = runtime_of(request).metrics
    with metrics.requests_in_flight.track_inprogress():
        try:
            response = await handler(request)
            status = response.status
            sent_bytes = None if response.prepared else response.content_length
        except ResponseCut as cut:
            status = cut.status
            raise
        else:
            return response
        finally:
            _record(request, status, sent_bytes, time.perf_counter() - started)


def _record(request: web.Request, status: int, sent_bytes: int | None, duration_s: float) -> None:
    metrics = runtime_of(request).metrics
    sent = request.writer.output_size if sent_bytes is None else sent_bytes
    received = request.content.total_bytes
    route = route_of(request)
    method = request.method if request.method in hdrs.METH_ALL else "OTHER"
    metrics.request_done(route, method, status, duration_s)
    metrics.bytes_in.inc(received)
    metrics.bytes_out.inc(sent)
    level = log.debug if route in _QUIET else log.info
    level(
        "request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(duration_s * 1000, 1),
        received_bytes=received,
        sent_bytes=sent,
        remote=request.remote,
    )


def route_of(request: web.Request) -> str:
    """The template of the route, never the path itself."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unmatched"


@web.middleware
async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into a problem, or cut the connection once a body has begun."""
    try:
        check_framing(request)
        check_expectation(request)
        return await handler(request)
    except asyncio.CancelledError:
        raise
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem_response(problem_of(error), request[REQUEST_ID])
    except Exception as error:
        if isinstance(error, ConnectionError) and _client_left(request):
            raise
        problem = problem_of(error)
        if problem.status == 500:
            log.exception("request_failed")
        elif problem.status > 500:
            log.warning("store_trouble", code=problem.code, error=repr(error))
        if STARTED in request:
            raise cut(request, problem.status) from error
        return problem_response(problem, request[REQUEST_ID])


def _client_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


class ResponseCut(ConnectionResetError):
    """aiohttp drops the connection of a handler that raises a ConnectionError, without a word.

    status: what would have been told, for logs and metrics.
    """

    def __init__(self, status: int) -> None:
        super().__init__("the response was cut")
        self.status = status


def cut(request: web.Request, status: int) -> ResponseCut:
    """The client must not take what it has for the whole: no last chunk, no clean end."""
    log.warning("response_cut", status=status)
    if request.transport is not None:
        request.transport.abort()
    return ResponseCut(status)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare."""
    request[STARTED] = True
    response.headers.update(every_response(request.get(REQUEST_ID) or new_id()))
    if refused_unread(request):
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()


def every_response(request_id: str) -> dict[str, str]:
    """What every response carries."""
    return {
        "X-Request-Id": request_id,
        "X-Content-Type-Options": "nosniff",
        "Server": "mediagate",
    }
