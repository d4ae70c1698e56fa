"""The listening server: what aiohttp's own lacks, and an orderly end.

aiohttp has no timer for a request's head, no cap on connections, and tells broken requests in plain
text; `Connection` adds that by overriding three methods of its protocol. A head must be complete
`http.header_timeout_s` after the connection was made, or after the first bytes of the next request.

End (SIGTERM, SIGINT): readiness says 503, then nothing new is accepted, requests in flight may end,
what is left is cancelled; then the cleanup contexts run (workers, tasks, stores). All of it shares
`http.shutdown_grace_s`, counted from the signal (`usecases/grace.py`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, http_parser, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from service import errors
from service.model.ids import new_id
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.web.client_pace import ClientPace
from service.web.cors import METHODS
from service.web.middleware import every_response
from service.web.problems import problem_of, problem_response
from service.web.state import READINESS, REQUEST_ID, RUNTIME

log = structlog.get_logger()

_BACKLOG = 1024
_LINGERING_S = 3.0
_UNASKED_BYTES = 64 << 10
"""A transport that is empty takes so much at once."""
_MAX_NOTICE_S = 1.0
"""How long readiness tells the end before connections are refused: a tenth of the grace at most."""
_REQUESTS_UNTIL = 0.7
"""Share of the grace; the rest is for undoing what did not end (app.py)."""


def require_c_parser() -> None:
    """The pure Python parser is slower and laxer; a build without the C one must not serve."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("aiohttp was installed without its C parser")


class Connection(RequestHandler):
    __slots__ = ("_body", "_ending", "_head_timer", "_idle_timeout_s")

    def __init__(self, manager: GuardedServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._body: StreamReader = EMPTY_PAYLOAD
        self._ending = False
        self._idle_timeout_s = manager.idle_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._manager
        assert isinstance(server, GuardedServer)
        if len(server.connections) >= server.max_connections:
            server.metrics.connections_refused.labels("too_many").inc()
            self._manager = None  # connection_lost has nothing to undo then
            self._force_close = True
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)
        server.metrics.connections.inc()
        self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        if isinstance(self._manager, GuardedServer):
            self._manager.metrics.connections.dec()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        super().data_received(data)
        if self._request_count > heads:
            self._stop_head_timer()
            self._watch_body()
        elif data and self._head_timer is None and self._waiter is not None:
            self._start_head_timer()

    def close(self) -> None:
        """No further request. aiohttp would also drop what comes of a body from here on, so that
        no upload under way could ever end well."""
        if self._receives_body():
            self._ending = True
        else:
            super().close()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Ends when nothing of the response waits in this process any more.

        aiohttp would let up to 64 KiB wait for a client that reads nothing, for ever: to close a
        transport does not drop what it holds. A larger body would hold up the request itself.
        """
        if self._ending:
            resp.force_close()
        pace = ClientPace(request, self._idle_timeout_s)
        more_bytes = 0 if resp.prepared else resp.content_length or 0
        finishing = super().finish_response(request, resp, start_time)
        try:
            if more_bytes > _UNASKED_BYTES:
                finished = await pace.allow(finishing, more_bytes)
            else:
                finished = await finishing
            if self.transport is not None and self.transport.get_write_buffer_size() > 0:
                await pace.drain()
        except errors.SlowClient as error:
            if isinstance(self._manager, GuardedServer):
                self._manager.metrics.connections_refused.labels("slow_reader").inc()
            if self.transport is not None:
                self.transport.abort()
            raise ConnectionResetError("the client does not read its answer") from error
        return finished

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """The last step of the end: the request gets `timeout` seconds, its body included.

        aiohttp would drop the body at once, and wait for `timeout` a second time before it cancels.
        """
        if self._request_in_progress:
            self._handler_waiter = self._loop.create_future()
            await asyncio.wait([self._handler_waiter], timeout=timeout)
            self._handler_waiter = None
        await super().shutdown(0.01)

    def _receives_body(self) -> bool:
        return self._request_in_progress and not self._body.is_eof()

    def _watch_body(self) -> None:
        """Tell a handler that the framing of its body broke.

        llhttp ends with an error that aiohttp queues as a request of its own, to be answered 400
        after the one whose body it was; that one would wait for the rest until its idle timeout.
        """
        message, payload = self._messages[-1]
        if isinstance(message, RawRequestMessage):
            self._body = payload
        elif not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the framing of the body is broken"))
            self._body.feed_eof()  # or else aiohttp would linger for the rest of it

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed, or an error that passed the middlewares."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError("the response was cut") from exc
        if isinstance(exc, BadHttpMethod):
            exc = web.HTTPMethodNotAllowed("", METHODS)
        elif status == 400:
            exc = errors.Invalid("this is no HTTP request that can be served")
        else:
            log.error("request_failed", exc_info=exc)
        problem = problem_of(exc or errors.MediagateError())
        request_id = request.get(REQUEST_ID) or new_id()
        response = problem_response(problem, request_id)
        response.headers.update(every_response(request_id))
        response.force_close()
        if isinstance(self._manager, GuardedServer):
            self._manager.metrics.request_done("unparsed", "OTHER", problem.status, 0.0)
        return response

    def _start_head_timer(self) -> None:
        assert isinstance(self._manager, GuardedServer)
        self._head_timer = self._loop.call_later(self._manager.header_timeout_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if isinstance(self._manager, GuardedServer):
            self._manager.metrics.connections_refused.labels("slow_head").inc()
        self.force_close()


class GuardedServer(web.Server):
    """aiohttp's server, making our connections."""

    def __init__(self, plain: web.Server, settings: Settings, metrics: Metrics) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=True,
        )
        http, limits = settings.http, settings.limits
        self.metrics = metrics
        self.header_timeout_s = http.header_timeout_s
        self.idle_timeout_s = http.idle_timeout_s
        self.max_connections = limits.max_connections
        self._options: dict[str, Any] = {
            "auto_decompress": False,  # uploads are kept as they come (a gzip bomb stays small)
            "keepalive_timeout": http.keepalive_timeout_s,
            "max_line_size": limits.max_header_bytes,
            "max_field_size": limits.max_header_bytes,
            # A refused body is read on for a while, so that the client gets to see why.
            "lingering_time": _LINGERING_S,
            "access_log": None,  # the middleware logs, with the route instead of the path
        }

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    def __init__(self, app: web.Application, settings: Settings) -> None:
        super().__init__(app)
        self._settings = settings

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return GuardedServer(plain, self._settings, self.app[RUNTIME].metrics)

    async def shutdown(self) -> None:
        """What aiohttp calls before it waits for requests: the time for that is known only now."""
        await super().shutdown()
        self._shutdown_timeout = self.app[RUNTIME].grace.left_s(_REQUESTS_UNTIL)


async def serve(
    app: web.Application,
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    share_port: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, then end in order; before it serves, end at once.

    ready: called with the base URL once connections are accepted (port 0 is resolved in it).
    share_port: with other processes that do the same (SO_REUSEPORT).
    """
    require_c_parser()
    stop = _stop_signals()
    runner = Runner(app, settings)
    try:
        if not await _set_up(runner, stop):
            return
        http = settings.http
        site = web.TCPSite(
            runner, http.host, http.port, backlog=_BACKLOG, reuse_port=share_port or None
        )
        await site.start()
        log.info("serving", url=site.name)
        if ready:
            ready(site.name)
        await stop.wait()
        app[RUNTIME].grace.begin()
        log.info("draining", grace_s=settings.http.shutdown_grace_s)
        app[READINESS].draining = True
        await asyncio.sleep(min(_MAX_NOTICE_S, settings.http.shutdown_grace_s / 10))
    finally:
        await runner.cleanup()
    log.info("stopped")


async def _set_up(runner: Runner, stop: asyncio.Event) -> bool:
    """False where the end came first: stores that do not answer are not waited for then."""
    setting_up = asyncio.ensure_future(runner.setup())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({setting_up, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if setting_up.done():
            setting_up.result()
            return True
        log.info("stopped_at_the_start")
        return False
    finally:
        stopping.cancel()
        setting_up.cancel()
        await asyncio.gather(setting_up, return_exceptions=True)


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
