"""Archives unpacked on their way in by the installed command, on real servers."""

from __future__ import annotations

import asyncio
import io
import random
import tarfile
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.e2e.installation import AUTHORIZED, LEASE_S, Installation
from tests.e2e.wreck import BUCKET, assert_store_has_exactly, make_bucket

MIB = 1 << 20
SOME = random.Random(7)
FILES = {
    "a.txt": b"alpha",
    "clips/één.mp4": SOME.randbytes(9 * MIB),
    "clips/empty": b"",
    "映画.json": b"{}" * 40_000,
}


@pytest.fixture
def alone(make_installation: Callable[[], Installation]) -> Installation:
    return make_installation()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


async def pieces(data: bytes, *, then: float = 0) -> AsyncIterator[bytes]:
    """As they come from a pipe. then: seconds until the last one."""
    for start in range(0, len(data) - 1, 1 << 16):
        yield data[start : min(start + (1 << 16), len(data) - 1)]
    await asyncio.sleep(then)
    yield data[-1:]


async def expand(http: ClientSession, data: Any, **query: str) -> tuple[int, dict[str, Any]]:
    async with http.post(f"{BUCKET}/objects", params=query, data=data) as response:
        return response.status, await response.json()


async def keys(http: ClientSession) -> list[str]:
    async with http.get(f"{BUCKET}/objects?limit=1000") as response:
        return [item["key"] for item in (await response.json())["items"]]


async def test_a_zip_and_a_compressed_tar_become_their_files(alone: Installation) -> None:
    with alone.serving() as process:
        await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            for kind, data, atomic in (
                ("zip", zipped(FILES), "true"),
                ("tar.gz", tarred(FILES), "false"),
            ):
                query = {"expand": kind, "prefix": f"{kind}/", "atomic": atomic}
                status, told = await expand(http, pieces(data), **query)
                assert (status, told["created"], told["failed"]) == (201, len(FILES), 0), told
                for name, content in FILES.items():
                    async with http.get(f"{BUCKET}/objects/{kind}/{name}") as response:
                        assert await response.read() == content
    await assert_store_has_exactly(alone, 2 * len(FILES))


async def test_a_bomb_leaves_nothing(alone: Installation) -> None:
    limits = {"LIMITS__MAX_ARCHIVE_BYTES": 20 * MIB}
    bomb = {"first": b"kept?", "bomb": bytes(40 * MIB)}
    with alone.serving(**limits) as process:
        await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            for kind, data in (("zip", zipped(bomb)), ("tar.gz", tarred(bomb))):
                status, told = await expand(http, pieces(data), expand=kind)
                assert (status, told["code"]) == (413, "too_large")
            assert await keys(http) == []
    await asyncio.sleep(LEASE_S + 0.2)
    await assert_store_has_exactly(alone, 0)


async def test_a_kill_in_the_middle_leaves_all_or_nothing(alone: Installation) -> None:
    files = {f"{number:03}": SOME.randbytes(20_000) for number in range(40)} | FILES
    process = alone.start()
    await make_bucket(process)
    async with ClientSession(process.url, headers=AUTHORIZED) as http:
        slow = asyncio.create_task(
            expand(http, pieces(zipped(files), then=30), expand="zip", prefix="in/")
        )

        async def staged() -> int:
            return len(await alone.store_keys())

        give_up = time.monotonic() + 30
        while await staged() < 20:
            assert time.monotonic() < give_up
        assert await keys(http) == []
        await asyncio.to_thread(process.kill)
        with pytest.raises(ClientError):
            await slow
    alone.end_transactions()
    await asyncio.sleep(LEASE_S + 0.2)
    with alone.serving() as other:
        async with ClientSession(other.url, headers=AUTHORIZED) as http:
            assert await keys(http) == []
    await asyncio.to_thread(alone.sweep)
    await assert_store_has_exactly(alone, 0)


@pytest.mark.timeout(120)
async def test_many_files_are_one_transaction(alone: Installation) -> None:
    """A thousand, or what the embedded MongoDB server can do in the time of one commit."""
    many = 1000 if alone.stack.metadata is None else 80
    files = {f"{number:04}": b"%d" % number for number in range(many)}
    with alone.serving() as process:
        await make_bucket(process)
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            seen: set[int] = set()

            async def watch() -> None:
                while True:
                    seen.add(len(await keys(http)))

            watching = asyncio.create_task(watch())
            status, told = await expand(http, tarred(files), expand="tar.gz")
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            assert (status, told.get("created")) == (201, many), told
            assert 0 in seen
            assert seen <= {0, many}
            assert len(await keys(http)) == many
