"""Clients and services that die in the middle: what was acknowledged stays, the rest is gone.

Each test has a bucket and a database of its own, so that what is in the store is all theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.e2e.installation import AUTHORIZED, Installation, Process, eventually
from tests.e2e.raw_http import connected, head, read_response

MIB = 1 << 20
BUCKET = "/v1/buckets/crash"
LEASE_S = 2.0


@pytest.fixture
def alone(make_installation: Callable[[], Installation]) -> Installation:
    return make_installation()


async def make_bucket(process: Process) -> None:
    async with (
        ClientSession(process.url, headers=AUTHORIZED) as http,
        http.put(BUCKET) as response,
    ):
        assert response.status == 201


async def assert_store_has_exactly(alone: Installation, versions: int) -> None:
    assert len(await alone.store_keys()) == versions
    assert not alone.multipart_files()


async def sweep_until_settled(alone: Installation) -> dict[str, int]:
    """Sweep past every lease; the work of all sweeps, and the ledger's state at the end."""
    done: dict[str, int] = {}
    await asyncio.sleep(LEASE_S + 0.2)
    for _ in range(5):
        report = await asyncio.to_thread(alone.sweep)
        assert report["failed"] == 0
        for kind in ("aborted", "rolled_forward", "blobs_deleted"):
            done[kind] = done.get(kind, 0) + report[kind]
        if report["open"] == report["tombstones"] == 0:
            return done | report | done
    raise AssertionError(f"the ledger does not settle: {report}")


@pytest.mark.parametrize("known", [True, False], ids=["known-length", "unknown-length"])
async def test_killed_clients_leave_nothing(alone: Installation, known: bool) -> None:
    """In every state of an upload: nothing sent, within the first part, several parts on."""
    with alone.serving() as process:
        await make_bucket(process)
        field = f"Content-Length: {60 * MIB}" if known else "Transfer-Encoding: chunked"

        async def cut(number: int) -> None:
            async with connected(process.port) as (_, writer):
                writer.write(head("PUT", f"{BUCKET}/objects/cut{number}", field))
                size = (0, 70_000, 9 * MIB, 35 * MIB)[number % 4]
                for _ in range(0, size, 70_000):
                    piece = b"x" * 70_000
                    writer.write(piece if known else b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
                await asyncio.sleep(0.05 * (number % 5))

        await asyncio.gather(*(cut(number) for number in range(12)))
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            async with http.get(f"{BUCKET}/objects") as response:
                assert (await response.json())["items"] == []

            async def memory_is_back() -> bool:
                async with http.get("/metrics") as response:
                    text = await response.text()
                return "mediagate_budget_used_bytes 0.0" in text

            await eventually(memory_is_back)
        report = await sweep_until_settled(alone)
        assert report["open"] == 0
        await assert_store_has_exactly(alone, 0)


async def test_killed_service_keeps_every_acknowledged_upload(alone: Installation) -> None:
    """kill -9 in the midst of 20 uploads of all sizes, three times over, then a new process."""
    acknowledged: dict[str, bytes] = {}
    told: list[str] = []

    async def keep_uploading(http: ClientSession, worker: int, round_: int) -> None:
        for number in range(1000):
            size = (10, 70_000, 9 * MIB, 20 * MIB)[(worker + number) % 4]
            key = f"r{round_}/w{worker}/{number}"
            data = hashlib.shake_256(key.encode()).digest(1000) * (size // 1000 + 1)
            told.append(key)
            with suppress(ClientError, ConnectionError, TimeoutError):
                async with http.put(f"{BUCKET}/objects/{key}", data=pieces(data)) as response:
                    if response.status != 201:
                        return
                    acknowledged[key] = hashlib.sha256(data).digest()
                    continue
            return

    for round_ in range(3):
        process = alone.start()
        if round_ == 0:
            await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            uploads = asyncio.gather(*(keep_uploading(http, w, round_) for w in range(20)))
            before = len(acknowledged)
            await asyncio.sleep(0.4 + 0.5 * round_)
            await eventually(lambda before=before: len(acknowledged) > before + 3, within_s=30)
            process.kill()
            await uploads
    assert len(acknowledged) < len(told), "the kills came too late to cut anything"
    report = await sweep_until_settled(alone)
    with alone.serving() as process:
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            listed = await list_all(http)
            for key in listed:
                async with http.get(f"{BUCKET}/objects/{key}") as response:
                    assert response.status == 200
                    digest = hashlib.sha256(await response.read()).digest()
                assert digest == acknowledged.get(key, digest)
    # One whose 201 was lost on the way is whole as well, and is no garbage.
    assert set(acknowledged) <= set(listed) <= set(told)
    assert report["aborted"] + report["rolled_forward"] > 0
    await assert_store_has_exactly(alone, len(listed))


async def pieces(data: bytes) -> Any:
    for start in range(0, len(data), 256 << 10):
        yield data[start : start + (256 << 10)]


async def list_all(http: ClientSession) -> list[str]:
    keys: list[str] = []
    params = {"limit": "1000"}
    while True:
        async with http.get(f"{BUCKET}/objects", params=params) as response:
            page = await response.json()
        keys += [item["key"] for item in page["items"]]
        if page["next"] is None:
            return keys
        params["cursor"] = page["next"]


async def test_overwritten_and_deleted_bytes_go_after_their_grace(alone: Installation) -> None:
    with alone.serving() as process:
        await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            for data in (b"1", b"2", b"3"):
                async with http.put(f"{BUCKET}/objects/kept", data=data):
                    pass
            async with http.put(f"{BUCKET}/objects/gone", data=b"4"):
                pass
            async with http.delete(f"{BUCKET}/objects/gone"):
                pass
            assert len(await alone.store_keys()) == 4
            report = await asyncio.to_thread(alone.sweep, SWEEP__GRACE_S=60)
            assert report["blobs_deleted"] == 0
            await asyncio.sleep(0.3)
            report = await asyncio.to_thread(alone.sweep)
            assert report["blobs_deleted"] == 3
            await assert_store_has_exactly(alone, 1)
            async with http.get(f"{BUCKET}/objects/kept") as response:
                assert await response.read() == b"3"


async def test_sigterm_lets_an_upload_end(alone: Installation) -> None:
    process = alone.start()
    await make_bucket(process)
    async with connected(process.port) as (reader, writer):
        writer.write(head("PUT", f"{BUCKET}/objects/a", "Content-Length: 10") + b"hello")
        await writer.drain()
        await asyncio.sleep(0.3)
        stopping = asyncio.create_task(asyncio.to_thread(process.terminate))
        await asyncio.sleep(0.8)
        writer.write(b"world")
        status, fields, _ = await read_response(reader)
        assert status == 201
        assert fields["connection"] == "close"
    assert await stopping == 0
    with alone.serving() as process:
        async with (
            ClientSession(process.url, headers=AUTHORIZED) as http,
            http.get(f"{BUCKET}/objects/a") as response,
        ):
            assert await response.read() == b"helloworld"


async def test_two_services_share_everything(alone: Installation) -> None:
    with alone.serving() as one, alone.serving() as other:
        await make_bucket(one)
        async with (
            ClientSession(one.url, headers=AUTHORIZED) as first,
            ClientSession(other.url, headers=AUTHORIZED) as second,
        ):
            async with first.put(f"{BUCKET}/objects/a", data=b"through one") as response:
                assert response.status == 201
            async with second.get(f"{BUCKET}/objects/a") as response:
                assert await response.read() == b"through one"
            answers = await asyncio.gather(
                *(create(http, number) for number, http in enumerate([first, second] * 4))
            )
        assert sorted(answers) == [201] + [412] * 7


async def create(http: ClientSession, number: int) -> int:
    async with http.put(
        f"{BUCKET}/objects/race", data=str(number), headers={"If-None-Match": "*"}
    ) as response:
        return response.status
