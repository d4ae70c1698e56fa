"""Resumable uploads on real servers: two replicas, two clients, many uploads, an orderly end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from service.devstack import Stack
from tests.e2e.installation import Installation, Process, eventually, install
from tests.e2e.tus_http import TUS, create, make_bucket, offset_of, patch
from tests.load.bench.meters import rss_bytes
from tests.web.tus_client import BODY_TYPE

MIB = 1 << 20
OPEN_UPLOADS = 500
MOST_RSS_BYTES = 64 * MIB


async def test_of_two_clients_at_once_one_wins_and_nothing_is_mixed(
    make_installation: Callable[[], Installation],
):
    installation, dice = make_installation(), random.Random(2)
    async with AsyncExitStack() as stack:
        processes = [stack.enter_context(installation.serving()) for _ in range(2)]
        clients = [
            await stack.enter_async_context(
                ClientSession(process.url, headers=TUS, timeout=ClientTimeout(total=60))
            )
            for process in processes
        ]
        await make_bucket(clients[0])
        for number, size in enumerate((100, 3 * MIB, 6 * MIB, 20 * MIB) * 2):
            contents = [dice.randbytes(size) for _ in clients]
            path = await create(clients[0], size, f"k{number}")
            answers = await asyncio.gather(
                *(
                    patch(http, path, 0, content, pause_s=dice.choice([0, 0.002]))
                    for http, content in zip(clients, contents, strict=True)
                )
            )
            assert sorted(answers) == [204, 409], answers
            async with clients[0].get(f"/v1/buckets/films/objects/k{number}") as response:
                assert await response.read() == contents[answers.index(204)]


@pytest.mark.minio
async def test_many_open_uploads_cost_little_memory(minio_stack: Stack, tmp_path: Path):
    """Half of them wait for their client to come back, half in the middle of a request."""
    installation = install(minio_stack, tmp_path)
    with installation.serving(HTTP__IDLE_TIMEOUT_S=120) as process:
        async with ClientSession(
            process.url, headers=TUS, timeout=ClientTimeout(total=None)
        ) as http:
            await make_bucket(http)
            warm = await create(http, 9 * MIB, "warm")
            assert await patch(http, warm, 0, bytes(9 * MIB)) == 204
            before = rss_bytes(process.popen.pid)
            connections = []
            for number in range(OPEN_UPLOADS):
                path = await create(http, 30 * MIB, f"k{number}")
                if number % 2:
                    assert await patch(http, path, 0, bytes(64 << 10)) == 204
                else:
                    connections.append(await stalled(process, path, bytes(64 << 10)))
            await asyncio.sleep(1)
            grown = rss_bytes(process.popen.pid) - before
            print(f"{OPEN_UPLOADS} open uploads cost {grown / MIB:.1f} MiB")
            for writer in connections:
                writer.transport.abort()
            async with http.get("/v1/uploads?limit=1000") as response:
                assert len((await response.json())["items"]) == OPEN_UPLOADS
    assert grown <= MOST_RSS_BYTES


async def stalled(process: Process, path: str, data: bytes) -> asyncio.StreamWriter:
    """A request that sends so much of its body and no more."""
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    fields = TUS | {
        "Host": "films",
        "Upload-Offset": "0",
        "Content-Type": BODY_TYPE,
        "Content-Length": str(30 * MIB),
    }
    lines = [f"PATCH {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write("\r\n".join((*lines, "", "")).encode() + data)
    await writer.drain()
    return writer


async def test_an_orderly_end_notes_what_came(make_installation: Callable[[], Installation]):
    """F9: SIGTERM in the middle of a body that never ends."""
    installation, sent = make_installation(), random.Random(4).randbytes(7 * MIB)
    with installation.serving() as other:
        process = installation.start(HTTP__SHUTDOWN_GRACE_S=3)
        async with ClientSession(other.url, headers=TUS) as http:
            await make_bucket(http)
            path = await create(http, 30 * MIB)
            writer = await stalled(process, path, sent)
            await asyncio.sleep(1)
            ended = asyncio.create_task(asyncio.to_thread(process.terminate))
            assert await asyncio.wait_for(ended, 12) == 0
            writer.close()
            assert await offset_of(http, path) == len(sent)
            rest = bytes(30 * MIB - len(sent))
            assert await patch(http, path, len(sent), rest) == 204
            async with http.get("/v1/buckets/films/objects/k") as response:
                assert await response.read() == sent + rest

            def swept() -> bool:
                report = installation.sweep()
                return not any(report[kind] for kind in ("open", "tombstones", "failed"))

            await eventually(lambda: asyncio.to_thread(swept), within_s=30)
    keys = await installation.store_keys()
    assert len(keys) == 1, keys
