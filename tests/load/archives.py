"""`python -m tests.load.archives`: many objects and a large one as a zip, on MinIO.

Fills a bucket of a service of its own, fetches the archive, looks at the memory of the process
meanwhile, and lets `unzip -t` and Python's `zipfile` read what came.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

from service.devstack import running_stack
from tests.e2e.installation import AUTHORIZED, Process, install
from tests.load.watch import Memory

MIB, GIB = 1 << 20, 1 << 30
_BLOCK = bytes(range(256)) * (MIB // 256)


async def fill(session: ClientSession, objects: int, big_bytes: int) -> None:
    async def big() -> AsyncIterator[bytes]:
        for _ in range(big_bytes // MIB):
            yield _BLOCK

    async def put(key: str, data: bytes | AsyncIterator[bytes]) -> None:
        async with session.put(f"/v1/buckets/many/objects/{key}", data=data) as response:
            assert response.status == 201, await response.text()

    async def worker() -> None:
        for number in numbers:
            await put(f"all/{number:05}.txt", f"object {number}".encode() * 100)

    async with session.put("/v1/buckets/many"):
        pass
    numbers = iter(range(objects - 1))
    await asyncio.gather(put("all/02500-big.bin", big()), *(worker() for _ in range(8)))


async def fetch(session: ClientSession, process: Process, path: Path, format: str) -> Memory:
    memory = Memory(process.popen.pid)
    url = f"/v1/buckets/many/archive?prefix=all/&format={format}"
    started, sampled = time.monotonic(), 0.0
    with path.open("wb", buffering=0) as file:
        async with session.get(url) as response:
            assert response.status == 200
            async for chunk in response.content.iter_any():
                file.write(chunk)
                if time.monotonic() - sampled > 0.1:
                    sampled = time.monotonic()
                    memory.sample()
    took_s = time.monotonic() - started
    size = path.stat().st_size
    growth = (memory.peak_bytes - memory.start_bytes) / MIB
    print(
        f"{format}: {size} bytes in {took_s:.1f} s, {size / took_s / 1e6:.0f} MB/s, "
        f"{memory.as_dict()['cpu_s']} CPU s, RSS {memory.start_bytes / MIB:.0f} MiB "
        f"and {growth:.1f} more",
        flush=True,
    )
    return memory


async def run(folder: Path, objects: int, big_bytes: int) -> None:
    with running_stack(folder / "data", "minio", in_memory=True) as stack:
        installation = install(stack, folder)
        with installation.serving(
            LIMITS__MAX_OBJECT_BYTES=1 << 40,
            HTTP__MAX_DOWNLOAD_S=3600,
            HTTP__IDLE_TIMEOUT_S=60,
            SWEEP__GRACE_S=7200,
            UPLOADS__LEASE_S=60,
        ) as process:
            async with ClientSession(
                process.url, headers=AUTHORIZED, timeout=ClientTimeout(None)
            ) as session:
                await fill(session, objects, big_bytes)
                for format in ("tar", "zip"):
                    await fetch(session, process, folder / f"all.{format}", format)
    path = folder / "all.zip"
    if unzip := shutil.which("unzip"):
        done = subprocess.run([unzip, "-tq", path], capture_output=True, text=True, check=False)
        print("unzip -t:", done.stdout.strip(), done.stderr.strip())
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == objects
        assert names == sorted(names)
        assert archive.testzip() is None
    print(f"zipfile: {len(names)} entries, all whole")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--big-mib", type=int, default=5 * 1024)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), given.objects, given.big_mib * MIB))


if __name__ == "__main__":
    main()
