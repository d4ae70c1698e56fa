"""Faults between the service and MongoDB: a proxy that loses messages, and `failCommand`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pymongo


class LossyMongoProxy:
    """A TCP proxy that cuts the connection on a message that contains `command`.

    lose: "answer" lets the command through first, "request" does not. times: how often.
    seen: how many messages had the command in them. met: set once one was lost.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = ""
        self.command = b"\0no such command\0"
        self.lose = "answer"
        self.times = 0
        self.seen = 0
        self.met = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def losing(self, command: str, *, lose: str = "answer", times: int = 1_000_000) -> None:
        self.command, self.lose, self.times, self.seen = command.encode(), lose, times, 0
        self.met.clear()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        down = asyncio.create_task(self._copy(up_reader, writer))
        try:
            while data := await reader.read(1 << 20):
                self.seen += data.count(self.command)
                if self.command in data and self.times:
                    self.times -= 1
                    self.met.set()
                    if self.lose == "answer":
                        down.cancel()
                        up_writer.write(data)
                        await up_reader.read(1 << 20)
                    break
                up_writer.write(data)
                await up_writer.drain()
        except ConnectionError:
            pass
        finally:
            down.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await down
            up_writer.close()
            writer.transport.abort()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def lossy_mongo_proxy(port: int) -> AsyncIterator[LossyMongoProxy]:
    proxy = LossyMongoProxy(port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    own_port = server.sockets[0].getsockname()[1]
    proxy.url = f"mongodb://127.0.0.1:{own_port}/?directConnection=true"
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)


@contextlib.contextmanager
def failing(url: str, *commands: str, times: int | None = None, **data: Any) -> Iterator[None]:
    """Let the server fail these commands, `times` times or for as long as the block lasts.

    data: as of failCommand: errorCode, errorLabels, closeConnection, blockConnection, blockTimeMS.
    """
    mode = "alwaysOn" if times is None else {"times": times}
    point = {"configureFailPoint": "failCommand", "mode": mode}
    with pymongo.MongoClient(url) as client:
        client.admin.command(point | {"data": {"failCommands": list(commands), **data}})
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
