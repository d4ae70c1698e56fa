"""A flood of large uploads at once, each read back and checked.

    python -m tests.load.flood --url http://127.0.0.1:8080 --count 64 --size 1GiB --pid PID

The bytes follow from the name, so this process stays small. Coming back they are compared with what
was sent, byte by byte, and their digest with the one that the service tells. Prints JSON; the exit
code is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from awscrt import checksums

from tests.load.content import difference, parse_size, pieces
from tests.load.raw import Answer, Broken, Connection, Service, object_path, scratch_bucket
from tests.load.watch import allow_many_sockets, watched

BUFFER_BYTES = 1 << 20


class Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


class Crc64Nvme:
    def __init__(self) -> None:
        self._crc = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._crc = checksums.crc64nvme(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(8, "big")


DIGESTS: dict[str, Callable[[], Digest]] = {"crc64nvme": Crc64Nvme, "sha-256": hashlib.sha256}


class Flood:
    """problems: what went wrong, one line each; empty means that every byte came back."""

    def __init__(
        self, service: Service, bucket: str, size_bytes: int, digest: str, *, chunked: bool
    ) -> None:
        self._service, self._bucket = service, bucket
        self._size_bytes, self._digest, self._chunked = size_bytes, digest, chunked
        self.problems: list[str] = []

    async def upload(self, key: str) -> None:
        await self._guarded(key, self._put(key))

    async def download(self, key: str) -> None:
        await self._guarded(key, self._get(key))

    async def _guarded(self, key: str, work: Any) -> None:
        try:
            await work
        except (OSError, Broken, TimeoutError) as error:
            self.problems.append(f"{key}: {error or type(error).__name__}")

    async def _put(self, key: str) -> None:
        framing: dict[str, str | int] = {"Content_Length": self._size_bytes}
        if self._chunked:
            framing = {"Transfer_Encoding": "chunked"}
        async with Connection.open(self._service) as connection:
            path = object_path(self._bucket, key)
            wanted = {"Want_Repr_Digest": f"{self._digest}=1"}
            await connection.ask("PUT", path, **framing, **wanted)
            answer, sent = await connection.exchange(self._send(connection, key))
        if answer.status != 201:
            raise Broken(f"status {answer.status}")
        if sent is None:
            raise Broken("it was answered before it was sent")
        self._compare(answer, sent)

    async def _send(self, connection: Connection, key: str) -> bytes:
        digest = DIGESTS[self._digest]()
        for piece in pieces(key, 0, self._size_bytes, BUFFER_BYTES):
            if self._chunked:
                await connection.send(b"%x\r\n" % len(piece))
            await connection.send(piece)
            if self._chunked:
                await connection.send(b"\r\n")
            digest.update(piece)
        if self._chunked:
            await connection.send(b"0\r\n\r\n")
        return digest.digest()

    async def _get(self, key: str) -> None:
        digest, position = DIGESTS[self._digest](), 0
        buffer = memoryview(bytearray(BUFFER_BYTES))
        async with Connection.open(self._service) as connection:
            await connection.ask("GET", object_path(self._bucket, key))
            answer = await connection.answer()
            if (answer.status, answer.size_bytes) != (200, self._size_bytes):
                raise Broken(f"status {answer.status}, {answer.size_bytes} bytes")
            chunk: bytes | memoryview = answer.begun
            while True:
                wrong = difference(key, position, chunk)
                if wrong is not None:
                    raise Broken(f"byte {wrong} is wrong")
                digest.update(chunk)
                position += len(chunk)
                if position >= self._size_bytes:
                    break
                chunk = buffer[: await connection.receive_into(buffer)]
                if not chunk:
                    raise Broken(f"the body ended at byte {position}")
            self._compare(answer, digest.digest())

    def _compare(self, answer: Answer, computed: bytes) -> None:
        """Raises Broken unless the answer tells this very digest."""
        expected = f"{self._digest}=:{base64.b64encode(computed).decode()}:"
        if expected not in answer.headers.get("repr-digest", "").replace(" ", "").split(","):
            raise Broken(f"the service tells another {self._digest}")


async def run(wanted: argparse.Namespace) -> dict[str, Any]:
    """What happened, as the command prints it."""
    allow_many_sockets()
    service = Service.at(wanted.url, wanted.key)
    keys = [f"flood/{number}" for number in range(wanted.count)]
    gate = asyncio.Semaphore(wanted.gets)
    async with scratch_bucket(service, keep=wanted.keep) as bucket:
        flood = Flood(service, bucket, wanted.size, wanted.digest, chunked=wanted.chunked)

        async def read_back(key: str) -> None:
            async with gate:
                await flood.download(key)

        async with watched(*wanted.pid) as up:
            began = time.monotonic()
            await asyncio.gather(*map(flood.upload, keys))
            upload_s = time.monotonic() - began
        async with watched(*wanted.pid) as down:
            began = time.monotonic()
            await asyncio.gather(*map(read_back, keys))
            download_s = time.monotonic() - began
    total_bytes = wanted.count * wanted.size
    return {
        "count": wanted.count,
        "size_bytes": wanted.size,
        "digest": wanted.digest,
        "upload_s": round(upload_s, 2),
        "upload_bytes_s": round(total_bytes / upload_s),
        "download_s": round(download_s, 2),
        "download_bytes_s": round(total_bytes / download_s),
        "mismatches": len(flood.problems),
        "problems": flood.problems[:20],
        "uploading": [memory.as_dict() for memory in up],
        "downloading": [memory.as_dict() for memory in down],
    }


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.load.flood", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default=os.environ.get("MEDIAGATE_KEY", ""))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--gets", type=int, default=8, help="downloads at the same time")
    parser.add_argument("--digest", choices=sorted(DIGESTS), default="crc64nvme")
    parser.add_argument("--chunked", action="store_true", help="do not tell the length")
    parser.add_argument("--keep", action="store_true", help="leave the objects there")
    parser.add_argument("--pid", type=int, action="append", default=[], help="whose memory")
    return parser


if __name__ == "__main__":
    found = asyncio.run(run(options().parse_args()))
    print(json.dumps(found, indent=2))
    sys.exit(1 if found["mismatches"] else 0)
