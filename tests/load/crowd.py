"""Crowds of slow clients: readers who hardly read, and uploaders who hardly send.

    python -m tests.load.crowd readers --url http://127.0.0.1:8080 --count 500 --pid PID
    python -m tests.load.crowd uploaders --url … --count 500 --rate 10KiB --seconds 60

The key is MEDIAGATE_KEY, or --key. Prints JSON: how many were served, what went wrong, the memory
of `--pid`, and the time to the first byte of somebody else before the crowd and during it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.load.content import difference, parse_size, pieces
from tests.load.raw import Answer, Broken, Connection, Service, object_path, scratch_bucket
from tests.load.watch import Probe, allow_many_sockets, watched

TICK_S = 0.25
ARRIVAL_S = 0.005
"""Between two arrivals, so that a crowd is no burst of connections."""
READER_BUFFER_BYTES = 4 << 10
OBJECT_BYTES = 64 << 20
PROBE_KEY, OBJECT_KEY = "small", "large"


@dataclass
class Counts:
    """finished: requests that came to their end. errors: by what went wrong, all others."""

    begun: int = 0
    finished: int = 0
    moved_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Crowd(ABC):
    """`await start()`; later `await stop()`, after which `counts` stands still.

    Each client repeats its request until the end, also after an error, at `rate_bytes_s`.
    """

    def __init__(self, service: Service, bucket: str, count: int, rate_bytes_s: int) -> None:
        self.service, self.bucket = service, bucket
        self.count, self.rate_bytes_s = count, rate_bytes_s
        self.counts = Counts()
        self.active = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when all have arrived."""
        for number in range(self.count):
            self._tasks.append(asyncio.create_task(self._client(number)))
            await asyncio.sleep(ARRIVAL_S)

    async def stop(self) -> Counts:
        """They leave as they are, in the middle of whatever they do."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return self.counts

    async def _client(self, number: int) -> None:
        while True:
            self.counts.begun += 1
            self.active += 1
            try:
                await self._request(number)
                self.counts.finished += 1
            except (OSError, Broken, TimeoutError) as error:
                self.counts.errors[str(error) or type(error).__name__] += 1
                await asyncio.sleep(1)
            finally:
                self.active -= 1

    @abstractmethod
    async def _request(self, number: int) -> None:
        """Raises Broken for an answer that is no success."""

    async def _pause(self, began: float, moved_bytes: int) -> None:
        """Until `moved_bytes` since `began` are no more than the rate allows."""
        await asyncio.sleep(max(0.0, began + moved_bytes / self.rate_bytes_s - time.monotonic()))


class Readers(Crowd):
    """Readers of one large object, each byte checked."""

    async def _request(self, number: int) -> None:
        connection_of = Connection.open(self.service, receive_buffer_bytes=READER_BUFFER_BYTES)
        async with connection_of as connection:
            await connection.ask("GET", object_path(self.bucket, OBJECT_KEY))
            answer = await connection.answer()
            _expect(answer, 200)
            began, position = time.monotonic(), 0
            buffer = memoryview(bytearray(max(1, int(self.rate_bytes_s * TICK_S))))
            chunk: bytes | memoryview = answer.begun
            while True:
                if difference(OBJECT_KEY, position, chunk) is not None:
                    raise Broken("wrong bytes")
                position += len(chunk)
                self.counts.moved_bytes += len(chunk)
                if position >= answer.size_bytes:
                    return
                await self._pause(began, position)
                chunk = buffer[: await connection.receive_into(buffer)]
                if not chunk:
                    raise Broken("the body ended early")


class Uploaders(Crowd):
    """Uploaders of objects of known length, of which each takes `seconds`."""

    def __init__(
        self, service: Service, bucket: str, count: int, rate_bytes_s: int, seconds: float
    ) -> None:
        super().__init__(service, bucket, count, rate_bytes_s)
        self._size_bytes = max(1, int(rate_bytes_s * seconds))

    async def _request(self, number: int) -> None:
        """An answer before the end of the body ends it: that is how an upload is refused."""
        key = f"slow/{number}"
        async with Connection.open(self.service) as connection:
            path = object_path(self.bucket, key)
            await connection.ask("PUT", path, Content_Length=self._size_bytes)
            answer, _ = await connection.exchange(self._send(connection, key))
            _expect(answer, 200, 201)

    async def _send(self, connection: Connection, key: str) -> None:
        began, sent = time.monotonic(), 0
        for piece in pieces(key, 0, self._size_bytes, max(1, int(self.rate_bytes_s * TICK_S))):
            await connection.send(piece)
            sent += len(piece)
            self.counts.moved_bytes += len(piece)
            await self._pause(began, sent)


def _expect(answer: Answer, *expected: int) -> None:
    if answer.status not in expected:
        raise Broken(f"status {answer.status}")


async def put_object(service: Service, bucket: str, key: str, size_bytes: int) -> None:
    """At full speed. Raises Broken."""
    async with Connection.open(service) as connection:
        await connection.ask("PUT", object_path(bucket, key), Content_Length=size_bytes)
        for piece in pieces(key, 0, size_bytes):
            await connection.send(piece)
        _expect(await connection.answer(), 200, 201)


async def run(wanted: argparse.Namespace) -> dict[str, Any]:
    """What happened, as the command prints it."""
    allow_many_sockets()
    service = Service.at(wanted.url, wanted.key)
    async with scratch_bucket(service) as bucket:
        await put_object(service, bucket, PROBE_KEY, 16 << 10)
        probe = Probe(service, object_path(bucket, PROBE_KEY))
        crowd: Crowd
        if wanted.kind == "readers":
            await put_object(service, bucket, OBJECT_KEY, wanted.size)
            crowd = Readers(service, bucket, wanted.count, wanted.rate)
        else:
            crowd = Uploaders(service, bucket, wanted.count, wanted.rate, wanted.seconds * 0.8)
        before = await probe.run(wanted.baseline)
        async with watched(*wanted.pid) as memories:
            began = time.monotonic()
            await crowd.start()
            arrived_s = time.monotonic() - began
            during = await probe.run(wanted.seconds)
            active, took_s = crowd.active, time.monotonic() - began
            counts = await crowd.stop()
    return {
        "kind": wanted.kind,
        "count": wanted.count,
        "rate_bytes_s": wanted.rate,
        "arrived_s": round(arrived_s, 1),
        "seconds": round(took_s, 1),
        "active_at_the_end": active,
        "begun": counts.begun,
        "finished": counts.finished,
        "moved_bytes": counts.moved_bytes,
        "bytes_s": round(counts.moved_bytes / took_s),
        "errors": dict(counts.errors),
        "first_byte_before": before,
        "first_byte_during": during,
        "processes": [memory.as_dict() for memory in memories],
    }


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.load.crowd", description=__doc__)
    parser.add_argument("kind", choices=("readers", "uploaders"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default=os.environ.get("MEDIAGATE_KEY", ""))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rate", type=parse_size, default=10 << 10, help="bytes/s, each: 10KiB")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--size", type=parse_size, default=OBJECT_BYTES, help="what readers read")
    parser.add_argument("--baseline", type=float, default=5, help="seconds before the crowd")
    parser.add_argument("--pid", type=int, action="append", default=[], help="whose memory")
    return parser


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(options().parse_args())), indent=2))
