"""A TCP proxy that breaks connections: after so many bytes of an answer, or of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cut:
    """answer_bytes, request_bytes: how many pass before both ends are reset; None: all of them.

    hold: then nothing passes any more, but the connection stays.
    """

    answer_bytes: int | None = None
    request_bytes: int | None = None
    hold: bool = False


@dataclass
class Proxy:
    """cuts: one for each connection to come, in order; further connections are left whole.

    taken: the first bytes of each connection's request. passed: how many bytes of it came through.
    """

    port: int = 0
    cuts: list[Cut] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(
        self, upstream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        cut = self.cuts.pop(0) if self.cuts else Cut()
        number = len(self.taken)
        self.taken.append(b"")
        self.passed.append(0)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream)

        def note(chunk: bytes) -> None:
            self.taken[number] = (self.taken[number] + chunk)[:4096]
            self.passed[number] += len(chunk)

        async def pump(
            source: asyncio.StreamReader,
            sink: asyncio.StreamWriter,
            limit: int | None,
            seen=lambda chunk: None,
        ) -> None:
            passed = 0
            while chunk := await source.read(65536):
                if limit is not None and passed + len(chunk) >= limit:
                    seen(chunk[: limit - passed])
                    sink.write(chunk[: limit - passed])
                    await sink.drain()
                    if cut.hold:
                        await asyncio.Event().wait()
                    return
                passed += len(chunk)
                seen(chunk)
                sink.write(chunk)
                await sink.drain()

        pumps = [
            asyncio.create_task(pump(reader, up_writer, cut.request_bytes, note)),
            asyncio.create_task(pump(up_reader, writer, cut.answer_bytes)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.05)  # what was passed on may arrive before the reset
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, up_writer):
                end.transport.abort()


@asynccontextmanager
async def breaking_proxy(upstream: int) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(asyncio.CancelledError):  # only the end below cancels
                await proxy.serve(upstream, reader, writer)
        finally:
            running.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
