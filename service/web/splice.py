"""splice(2): the kernel moves a body from the store's socket to the client's, past this process.

Socket -> pipe -> socket, 0.3 CPU s per GiB instead of 0.5, and a slow client costs no memory here:
while it does not read, nothing is taken from the store, whose connection pushes back. Linux, and
only where both sides are plain TCP; TLS, small bodies and whatever lends no socket take the way of
the chunks (`delivery`). Order is kept because what aiohttp wrote has left its buffer before the
kernel goes on, and the pipe is filled only when it is empty: when the store fails, all that came
from it is with the client, and whoever reads the version resumes there.

Descriptors are duplicates, since an event loop watches a transport's own for nobody else.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from service.errors import StoreTimeout, StoreUnavailable
from service.stores.blob_port import RawBody
from service.telemetry.metrics import Metrics
from service.web.client_pace import ClientPace

LEAST_BYTES = 1 << 20
"""A smaller body costs less as chunks than the pipe does."""
PIPE_BYTES = 512 << 10
"""A pipe for a fast client. Half of it moved 7 % less a second, twice as much no more, and users
without privileges have 64 MiB for all of them."""
_DENSITY = 4
"""How many bytes are asked for beyond what a pipe of whole pages holds: what comes from a socket
lies in larger pieces, and each takes one place whatever its size."""
_TURN_BYTES = 2 << 20
"""After so many the others have their turn, about a millisecond."""
SLOW_PIPE_BYTES = 16 << 10
_SLOW_S = 1.0
"""A client that took so long for one pipe gets along with a small one. Beside 256 large ones the
kernel gives a user without privileges no more than 8 KiB for each further one, with which a fast
client's bytes take 2.5 times the CPU; so readers who are slow must not hold them all."""
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if sys.platform == "linux" else 0


class Splicer:
    """Moves bodies to the client of one request; a context that closes its descriptors."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        pace: ClientPace,
        metrics: Metrics,
        fds: tuple[int, int, int],
    ) -> None:
        self._request = request
        self._response = response
        self._pace = pace
        self._metrics = metrics
        self._client, self._pipe_out, self._pipe_in = fds
        self._pipe_bytes = _resized(self._pipe_in, PIPE_BYTES)
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Splicer:
        return self

    def __exit__(self, *exc: object) -> None:
        for fd in (self._client, self._pipe_out, self._pipe_in):
            os.close(fd)

    async def move(self, raw: RawBody, moved: Callable[[int], None]) -> None:
        """usecases' Mover. Raises SlowClient and ConnectionResetError for the client."""
        while raw.head:
            moved(len(raw.head[0]))
            await self._pace.write(self._response, raw.head.popleft())
        await self._pace.drain()
        missing_bytes, turn_bytes = raw.size_bytes, 0
        while missing_bytes:
            held_bytes = await self._take(raw, missing_bytes)
            missing_bytes -= held_bytes
            began = self._loop.time()
            await self._give(held_bytes, moved)
            if self._loop.time() - began > _SLOW_S and self._pipe_bytes > SLOW_PIPE_BYTES:
                self._pipe_bytes = _resized(self._pipe_in, SLOW_PIPE_BYTES)
            turn_bytes += held_bytes
            if turn_bytes >= _TURN_BYTES:
                turn_bytes = 0
                await asyncio.sleep(0)

    async def _take(self, raw: RawBody, missing_bytes: int) -> int:
        """Fill the pipe, with what there is."""
        wanted_bytes = min(missing_bytes, self._pipe_bytes * _DENSITY)
        while True:
            try:
                taken_bytes = os.splice(raw.fd, self._pipe_in, wanted_bytes, flags=_FLAGS)
            except BlockingIOError:
                try:
                    async with asyncio.timeout(raw.silence_s):
                        await _once(self._loop.add_reader, self._loop.remove_reader, raw.fd)
                except TimeoutError as error:
                    raise StoreTimeout("the S3 store did not go on in time") from error
                continue
            except OSError as error:
                raise StoreUnavailable("the connection to the S3 store broke") from error
            if taken_bytes == 0:
                raise StoreUnavailable("the S3 store ended a blob early")
            return taken_bytes

    async def _give(self, held_bytes: int, moved: Callable[[int], None]) -> None:
        """Empty the pipe."""
        writer = self._request.writer
        while held_bytes:
            try:
                given_bytes = os.splice(self._pipe_out, self._client, held_bytes, flags=_FLAGS)
            except BlockingIOError:
                await self._pace.allow(
                    _once(self._loop.add_writer, self._loop.remove_writer, self._client)
                )
                continue
            except OSError as error:
                raise self._client_gone() from error
            held_bytes -= given_bytes
            moved(given_bytes)
            # aiohttp's own account: what was sent, and what a Content-Length leaves to be sent.
            writer.output_size += given_bytes
            if writer.length is not None:
                writer.length -= given_bytes
            self._metrics.bytes_spliced.inc(given_bytes)

    def _client_gone(self) -> ConnectionResetError:
        if self._request.transport is not None:
            self._request.transport.abort()
        return ConnectionResetError("the client went away")


def splicer_for(
    request: web.Request, response: web.StreamResponse, pace: ClientPace, metrics: Metrics
) -> Splicer | None:
    """None where the kernel does not write to this client by itself, or has no descriptors left.

    response: prepared, its length known.
    """
    transport = request.transport
    if sys.platform != "linux" or transport is None or transport.get_extra_info("sslcontext"):
        return None
    fds: list[int] = []
    try:
        fds.append(os.dup(transport.get_extra_info("socket").fileno()))
        fds += os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Nothing is in the pipe: EAGAIN where the kernel, or a sandbox around us, would do it.
        with suppress(BlockingIOError):
            os.splice(fds[1], fds[0], 1, flags=_FLAGS)
    except OSError:
        for fd in fds:
            os.close(fd)
        return None
    return Splicer(request, response, pace, metrics, (fds[0], fds[1], fds[2]))


def _resized(fd: int, wanted_bytes: int) -> int:
    """What an empty pipe holds then. The kernel refuses larger ones to a user who has many."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, wanted_bytes)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


async def _once(add: Callable[..., Any], remove: Callable[[int], Any], fd: int) -> None:
    """Until the event loop says that `fd` is ready (or broke, which the next call tells)."""
    ready = asyncio.get_running_loop().create_future()
    add(fd, _wake, ready)
    try:
        await ready
    finally:
        remove(fd)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
