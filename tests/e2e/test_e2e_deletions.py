"""The deletion of a prefix while its service ends, or is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, Installation, Process, eventually
from tests.e2e.test_e2e_listing import put_all, walk
from tests.e2e.wreck import BUCKET, make_bucket

OBJECTS = {True: 160, False: 700}
"""With a MongoDB server and without: the job notes how far it is after each hundred, and has to be
caught before it is through."""


@pytest.mark.parametrize("end", [Process.kill, Process.terminate])
async def test_a_deletion_that_is_cut_off_is_ended_by_the_next_service(
    make_installation: Callable[[], Installation], end: Callable[[Process], object]
) -> None:
    alone = make_installation()
    objects = OBJECTS[alone.stack.metadata is not None]
    process = alone.start()
    await make_bucket(process)
    async with client(process) as http:
        await put_all(http, BUCKET, [f"gone/{n:03}" for n in range(objects)] + ["kept"])
        async with http.post(f"{BUCKET}/deletions", json={"prefix": "gone/"}) as response:
            assert response.status == 202
            job = (await response.json())["id"]
        seen = [0]

        async def has_begun() -> bool:
            seen.append((await state_of(http, job))["deleted"])
            return seen[-1] > 0

        await eventually(has_begun, within_s=30)
        await asyncio.to_thread(end, process)
    alone.end_transactions()
    with alone.serving() as other:
        async with client(other) as http:
            seen.append((await state_of(http, job))["deleted"])
            assert seen[-1] < objects or end is Process.terminate  # which may have ended it all
            await put_all(http, BUCKET, ["gone/later"])

            async def has_ended() -> bool:
                told = await state_of(http, job)
                seen.append(told["deleted"])
                return bool(told["state"] == "done")

            await eventually(has_ended, within_s=30)
            assert (await walk(http, BUCKET))[0] == ["gone/later", "kept"]
        assert other.popen.poll() is None
    await asyncio.to_thread(alone.sweep)
    assert len(await alone.store_keys()) == 2
    assert seen == sorted(seen)
    assert seen[-1] <= objects


def client(process: Process) -> ClientSession:
    return ClientSession(process.url, headers=AUTHORIZED)


async def state_of(http: ClientSession, job: str) -> dict[str, Any]:
    async with http.get(f"{BUCKET}/deletions/{job}") as response:
        assert response.status == 200
        told: dict[str, Any] = await response.json()
    await asyncio.sleep(0.002)
    return told
