"""How slowly a client may take what it asked for.

Within each idle time it must take a little, or be done with what it was given. What counts is what
its machine acknowledged: bytes that wait in our buffers and in the kernel's were not taken, however
long ago they were written. A socket's buffer may hold megabytes and tells of room only once a third
of it is free, which takes a slow client minutes; so where the wait is over, the kernel is asked.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
import termios
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web
from aiohttp.web_request import BaseRequest

from service.errors import SlowClient

_LEAST_BYTES = 64 << 10
"""A client through whom this much does not get within the idle time has stalled."""
_NO_WAIT_BYTES = 32 << 10
"""With the head before it less than the 64 KiB at which asyncio and aiohttp begin to push back."""

T = TypeVar("T")


class ClientPace:
    def __init__(self, request: BaseRequest, idle_s: float) -> None:
        self._request = request
        self._idle_s = idle_s

    async def write(self, response: web.StreamResponse, data: bytes | memoryview) -> None:
        """Raises SlowClient, ConnectionResetError."""
        transport = self._request.transport
        if len(data) <= _NO_WAIT_BYTES and transport and not transport.get_write_buffer_size():
            await response.write(data)  # nobody waits for so little: it needs no timers
        else:
            await self.allow(response.write(data), len(data))

    async def drain(self) -> None:
        """Until nothing waits in this process any more: the kernel has all of it."""
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        transport.set_write_buffer_limits(high=0)
        try:
            await self.allow(self._request.writer.drain())
        finally:
            transport.set_write_buffer_limits()
        if transport.is_closing():
            raise ConnectionResetError("the client went away")

    async def allow(self, work: Awaitable[T], more_bytes: int = 0) -> T:
        """What `work` returns, awaited while the client takes something. Raises SlowClient.

        more_bytes: that `work` adds to what waits. It is never awaited twice: aiohttp's drain does
        not come back from a cancellation.
        """
        loop = asyncio.get_running_loop()
        begin = self._untaken_bytes()
        timer: asyncio.TimerHandle
        try:
            async with asyncio.timeout(None) as end:

                def judge(before: int | None) -> None:
                    nonlocal timer
                    now = self._untaken_bytes()
                    if before is None or now is None or before - now < _LEAST_BYTES:
                        end.reschedule(loop.time())
                    else:
                        timer = loop.call_later(self._idle_s, judge, now)

                untaken = None if begin is None else begin + more_bytes
                timer = loop.call_later(self._idle_s, judge, untaken)
                try:
                    return await work
                finally:
                    timer.cancel()
        except TimeoutError as error:
            if not end.expired():
                raise
            raise SlowClient(
                f"the client read nothing, or too little, for {self._idle_s:g} s"
            ) from error

    def _untaken_bytes(self) -> int | None:
        """None where nobody knows."""
        transport = self._request.transport
        if transport is None or sys.platform != "linux":
            return None
        try:
            answer = fcntl.ioctl(
                transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)
            )
        except OSError:
            return None
        return transport.get_write_buffer_size() + int(struct.unpack("i", answer)[0])
