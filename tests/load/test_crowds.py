"""The crowds and the flood do what they say, on the session's servers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.devstack import Stack
from tests.e2e.installation import ROOT_KEY, Installation, Process, eventually, install
from tests.load.crowd import OBJECT_KEY, Readers, Uploaders, put_object
from tests.load.raw import Answer, Broken, Connection, Service, scratch_bucket, told
from tests.load.watch import Memory

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def installation(
    devstack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    made = install(devstack, tmp_path_factory.mktemp("logs"))
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def process(installation: Installation) -> Iterator[Process]:
    with installation.serving(HTTP__IDLE_TIMEOUT_S=30) as process:
        yield process


@pytest.fixture
async def service(process: Process) -> AsyncIterator[Service]:
    """Nothing may be left in it."""
    service = Service.at(process.url, ROOT_KEY)
    yield service
    assert (await told(service, "GET", "/v1/buckets", 200))["items"] == []


async def command(*arguments: str) -> tuple[int, dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments,
        cwd=ROOT, env={**os.environ, "MEDIAGATE_KEY": ROOT_KEY},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out or b"{}"), err.decode()


async def test_slow_readers_read_at_their_rate_and_leave_when_told(service: Service) -> None:
    async with scratch_bucket(service) as bucket:
        await put_object(service, bucket, OBJECT_KEY, 2 << 20)
        readers = Readers(service, bucket, 20, 32 << 10)
        await readers.start()
        await asyncio.sleep(2)
        assert readers.active == 20
        counts = await readers.stop()
    assert (counts.begun, counts.finished, dict(counts.errors)) == (20, 0, {})
    assert 20 * (32 << 10) < counts.moved_bytes < 3 * 20 * (32 << 10)


async def test_a_reader_begins_again_and_sees_wrong_bytes(service: Service) -> None:
    async with scratch_bucket(service) as bucket:
        await put_object(service, bucket, OBJECT_KEY, 1000)
        readers = Readers(service, bucket, 2, 32 << 10)
        await readers.start()
        await eventually(lambda: readers.counts.finished > 2)
        counts = await readers.stop()
        assert not counts.errors
        async with Connection.open(service) as connection:
            path = f"/v1/buckets/{bucket}/objects/{OBJECT_KEY}"
            await connection.ask("PUT", path, Content_Length=5)
            await connection.exchange(connection.send(b"wrong"))
        readers = Readers(service, bucket, 2, 32 << 10)
        await readers.start()
        await eventually(lambda: readers.counts.errors.total() >= 2)
        counts = await readers.stop()
        assert set(counts.errors) == {"wrong bytes"}


async def test_slow_uploaders_end_well_or_are_cut_off_without_a_trace(service: Service) -> None:
    async with scratch_bucket(service) as bucket:
        uploaders = Uploaders(service, bucket, 10, 16 << 10, seconds=1)
        await uploaders.start()
        await eventually(lambda: uploaders.counts.finished >= 10, within_s=30)
        counts = await uploaders.stop()
        assert not counts.errors
        page = await told(service, "GET", f"/v1/buckets/{bucket}/objects", 200)
        assert {item["size_bytes"] for item in page["items"]} == {16 << 10}


async def test_a_refusal_is_counted_and_ends_the_sending(service: Service) -> None:
    nobody = Service(service.host, service.port, "mg_wrong")
    uploaders = Uploaders(nobody, "nothing", 3, 16 << 10, seconds=60)
    await uploaders.start()
    await eventually(lambda: uploaders.counts.errors.total() >= 3)
    counts = await uploaders.stop()
    assert set(counts.errors) == {"status 401"}
    assert counts.moved_bytes < 3 * (16 << 10)


@pytest.mark.parametrize("kind", ["readers", "uploaders"])
async def test_the_crowd_command_tells_what_happened(
    service: Service, process: Process, kind: str
) -> None:
    code, found, err = await command(
        "tests.load.crowd", kind, "--url", process.url, "--count", "30", "--seconds", "3",
        "--baseline", "1", "--size", "1MiB", "--pid", str(process.popen.pid),
    )  # fmt: skip
    assert code == 0, err
    assert found["errors"] == {}
    assert found["active_at_the_end"] == 30
    assert found["first_byte_before"]["requests"] > 5
    assert found["first_byte_during"]["p99_ms"] >= found["first_byte_during"]["p50_ms"] > 0
    (memory,) = found["processes"]
    assert memory["rss_peak_bytes"] >= memory["rss_start_bytes"] > 10 << 20
    assert memory["cpu_s"] > 0


@pytest.mark.parametrize(
    "more", [[], ["--chunked", "--digest", "sha-256"]], ids=["known length", "chunked"]
)
async def test_a_flood_comes_back_byte_for_byte(
    service: Service, process: Process, more: list[str]
) -> None:
    code, found, err = await command(
        "tests.load.flood", "--url", process.url, "--count", "5", "--size", "9MiB",
        "--pid", str(process.popen.pid), *more,
    )  # fmt: skip
    assert code == 0, err
    assert (found["mismatches"], found["problems"]) == (0, [])
    assert found["upload_bytes_s"] > 0
    assert found["uploading"][0]["rss_peak_bytes"] > 10 << 20


async def test_a_flood_that_is_refused_says_so(service: Service, process: Process) -> None:
    code, found, _ = await command(
        "tests.load.flood", "--url", process.url, "--count", "2", "--size", "65MiB"
    )
    assert code == 1
    assert found["mismatches"] == 4
    assert "flood/0: status 413" in found["problems"]


async def test_what_is_no_http_is_broken(unused_tcp_port: int) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", unused_tcp_port)
    async with server, Connection.open(Service("127.0.0.1", unused_tcp_port, "k")) as connection:
        with pytest.raises(Broken, match="no HTTP"):
            await connection.answer()
    with pytest.raises(ValueError, match="http://HOST"):
        Service.at("https://files.example.org", "k")


def test_memory_of_this_process_is_seen_to_grow() -> None:
    memory = Memory(os.getpid())
    held = bytearray(os.urandom(1 << 20) * 64)
    memory.sample()
    del held
    assert memory.peak_bytes - memory.start_bytes > 48 << 20


def test_an_answer_tells_its_length() -> None:
    assert Answer(200, {"content-length": "5"}, b"").size_bytes == 5
    assert Answer(204, {}, b"").size_bytes == 0
