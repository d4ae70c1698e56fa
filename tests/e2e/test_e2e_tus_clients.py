"""The tus clients that people use, through a network that cuts them off ten times an upload, to
three replicas of which none sees two requests in a row. They end up with the object, and what they
send again has a limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import ClientSession

from service.devstack import Stack
from tests.e2e.cutting_proxy import CuttingProxy, cutting_proxy, spread_cuts
from tests.e2e.installation import AUTHORIZED, LEASE_S, Installation, Process, install
from tests.e2e.tus_clients.job import Job
from tests.e2e.tus_clients.programs import PROGRAMS, Program, run_program
from tests.e2e.wreck import assert_store_has_exactly

MIB = 1 << 20
SIZE = 300 * MIB
CUTS = 10
REPLICAS = 3
"""Of two, one would get every PATCH and the other every HEAD."""
PART = 16 * MIB
IN_FLIGHT = 3 * PART + 16 * MIB
"""Parts of an append are half as large as those of a PUT, and three of them on their way."""
UPLOAD_TIMEOUT_S = 120
ENDPOINT = "/v1/uploads"

ALL = "MEDIAGATE_TEST_TUS_CLIENTS_ON_ALL" in os.environ
"""Else each client meets one of the two pairs of stores, since an upload takes ten seconds."""
STACKS = {"minio": "minio_stack", "seaweedfs": "devstack"}
CUT = [
    ("tuspy", "minio"),
    ("aiotus", "seaweedfs"),
    ("tus-js-client", "minio"),
    ("uppy", "minio"),
]
KILLED = [("aiotus", "seaweedfs"), ("tus-js-client", "minio")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def on_stacks(pairs: list[tuple[str, str]]) -> list[Any]:
    """The cases of a test, those on MinIO marked."""
    chosen = [(client, stack) for client, _ in pairs for stack in STACKS] if ALL else pairs
    marks = {"minio": [pytest.mark.minio], "seaweedfs": []}
    return [pytest.param(client, stack, marks=marks[stack]) for client, stack in chosen]


@dataclass(frozen=True)
class File:
    path: Path
    sha256: str


@dataclass
class Replicas:
    """Processes on the same stores."""

    installation: Installation
    processes: list[Process] = field(default_factory=list)

    def start(self) -> Process:
        return self.installation.start(
            LIMITS__MAX_OBJECT_BYTES=2 * SIZE,
            UPLOADS__LARGE_PART_BYTES=2 * PART,
            HTTP__CORS_ORIGINS='["*"]',
        )

    def urls(self) -> list[str]:
        return [process.url for process in self.processes]

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.installation.end_transactions()

    def restart(self, index: int) -> str:
        """Its new URL."""
        self.processes[index] = self.start()
        return self.processes[index].url


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> File:
    path = tmp_path_factory.mktemp("tus") / "film.bin"
    sha256 = hashlib.sha256()
    with path.open("wb") as output:
        for _ in range(SIZE // (10 * MIB)):
            piece = os.urandom(10 * MIB)
            sha256.update(piece)
            output.write(piece)
    return File(path, sha256.hexdigest())


Running = Callable[[str], Replicas]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The replicas on a pair of stores, started when they are asked for."""
    made: dict[str, Replicas] = {}

    def on(stack: str) -> Replicas:
        if stack not in made:
            stores: Stack = request.getfixturevalue(STACKS[stack])
            found = Replicas(install(stores, tmp_path_factory.mktemp("logs")))
            found.processes += [found.start() for _ in range(REPLICAS)]
            made[stack] = found
        return made[stack]

    yield on
    for replicas in made.values():
        for process in replicas.processes:
            assert process.terminate() == 0
            assert not process.events("request_failed")
            assert "Traceback" not in process.log.read_text()


@pytest.fixture
def replicas(on: str, running: Running) -> Replicas:
    return running(on)


@pytest.fixture
async def http(replicas: Replicas) -> AsyncIterator[ClientSession]:
    async with ClientSession(replicas.processes[0].url, headers=AUTHORIZED) as session:
        yield session


@pytest.fixture
def program(client: str) -> Program:
    found = PROGRAMS[client]
    if missing := found.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must provide {missing}")
        pytest.skip(f"{client} needs {missing}")
    return found


@pytest.mark.parametrize(("client", "on"), on_stacks(CUT))
async def test_cut_ten_times_it_arrives_whole(
    client: str, program: Program, replicas: Replicas, file: File, http: ClientSession
) -> None:
    key = f"films/été {secrets.token_hex(4)}.bin"
    bucket = await make_bucket(http)
    async with cutting_proxy(replicas.urls(), spread_cuts(SIZE, CUTS)) as proxy:
        location = await upload(program, proxy, bucket, key, file)
    await check(client, proxy, location, file, f"{replicas.urls()[1]}{path_of(bucket, key)}")


@pytest.mark.parametrize(("client", "on"), on_stacks(KILLED))
async def test_each_cut_kills_the_replica_that_was_receiving(
    client: str, program: Program, replicas: Replicas, file: File
) -> None:
    restarts: set[asyncio.Task[None]] = set()

    async def restart(index: int) -> None:
        proxy.replicas[index] = await asyncio.to_thread(replicas.restart, index)

    async def kill(index: int) -> None:
        await asyncio.to_thread(replicas.kill, index)
        restarts.add(asyncio.create_task(restart(index)))

    async with ClientSession(replicas.urls()[0], headers=AUTHORIZED) as http:
        bucket = await make_bucket(http)
    async with cutting_proxy(replicas.urls(), spread_cuts(SIZE, CUTS), kill) as proxy:
        location = await upload(program, proxy, bucket, "film", file)
        await asyncio.gather(*restarts)
    await check(client, proxy, location, file, f"{replicas.urls()[0]}{path_of(bucket, 'film')}")


@pytest.mark.parametrize("on", [pytest.param("minio", marks=pytest.mark.minio), "seaweedfs"])
async def test_they_leave_nothing_but_their_objects(replicas: Replicas) -> None:
    """Those have been deleted by then."""
    for _ in range(8):
        report = await asyncio.to_thread(replicas.installation.sweep)
        if report["open"] == report["tombstones"] == 0:
            break
        await asyncio.sleep(LEASE_S)
    assert (report["open"], report["tombstones"], report["failed"]) == (0, 0, 0)
    await assert_store_has_exactly(replicas.installation, 0)


async def make_bucket(http: ClientSession) -> str:
    name = f"tus-{secrets.token_hex(4)}"
    async with http.put(f"/v1/buckets/{name}") as response:
        assert response.status == 201
    return name


def path_of(bucket: str, key: str) -> str:
    return f"/v1/buckets/{bucket}/objects/{quote(key)}"


async def upload(program: Program, proxy: CuttingProxy, bucket: str, key: str, file: File) -> str:
    metadata = {"bucket": bucket, "key": key, "filename": "Été.bin", "filetype": "video/mp4"}
    job = Job(proxy.url + ENDPOINT, str(file.path), AUTHORIZED, metadata)
    return await run_program(program, job, timeout_s=UPLOAD_TIMEOUT_S)


async def check(client: str, proxy: CuttingProxy, location: str, file: File, url: str) -> None:
    """The bytes, the way they took, and how many took it twice. The object is gone afterwards."""
    assert not proxy.cuts, "it ended before its last byte"
    path = urlsplit(location).path
    replicas = [one.replica for one in proxy.passed if one.path == path and one.method != "OPTIONS"]
    assert all(one != next_one for one, next_one in pairwise(replicas))
    again = proxy.body_bytes - SIZE
    print(
        f"\n{client}: {again / MIB:.1f} MiB sent again after {proxy.cuts_made} cuts, "
        f"{len(replicas)} requests"
    )
    assert again <= proxy.cuts_made * (PART + IN_FLIGHT)
    async with ClientSession(headers=AUTHORIZED) as http:
        async with http.get(url) as response:
            assert response.status == 200
            assert response.content_length == SIZE
            assert response.content_type == "video/mp4"
            assert await sha256_of(response.content.iter_chunked(MIB)) == file.sha256
        async with http.delete(url) as response:
            assert response.status == 204


async def sha256_of(body: AsyncIterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    async for piece in body:
        sha256.update(piece)
    return sha256.hexdigest()
