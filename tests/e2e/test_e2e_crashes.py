"""Clients and services that die in the middle: what was acknowledged stays, the rest is gone.

Each test has a bucket and a database of its own, so that what is in the store is all theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, LEASE_S, Installation, eventually
from tests.e2e.raw_http import connected, head, read_response
from tests.e2e.wreck import BUCKET, Wreck, assert_store_has_exactly, make_bucket

MIB = 1 << 20


@pytest.fixture
def alone(make_installation: Callable[[], Installation]) -> Installation:
    return make_installation()


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
        await asyncio.sleep(LEASE_S + 0.2)
        for _ in range(2):  # the second sweep forgets the tombstones that the first one left
            report = await asyncio.to_thread(alone.sweep)
        assert (report["open"], report["tombstones"]) == (0, 0)
        await assert_store_has_exactly(alone, 0)


async def test_killed_service_keeps_every_acknowledged_upload(wreck: Wreck) -> None:
    """What the kills cut off is swept later, in `test_e2e_wreck`."""
    assert len(wreck.acknowledged) < len(wreck.begun), "the kills came too late to cut anything"
    assert await wreck.visible() >= set(wreck.acknowledged)


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
