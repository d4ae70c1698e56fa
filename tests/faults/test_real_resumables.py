"""Resumable uploads on real servers while processes are killed: I8, on any replica.

Two replicas, and never the same one twice. The answering one is killed again and again, and both
stores once. What is sent again is bounded, and the offset that was told never goes back.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.installation import Process
from tests.faults.load import MIB, PART_BYTES
from tests.faults.real_world import LONG, World, rounds
from tests.faults.report import Report
from tests.faults.resumed_upload import ResumedUpload

ROOT = Path(__file__).parents[2]
SIZE_BYTES = 300 * MIB if LONG else 40 * MIB
PACE_BYTES_S = 30 * MIB
LOST_BYTES = 5 * PART_BYTES + 8 * MIB
"""What a killed process may not have noted yet: three parts in flight, one that is being filled,
one whose note was on its way; and what waited in the sockets."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if LONG else 150)]


@pytest.fixture(params=["mongo", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Replicas:
    """Two processes; `next` never names the same one twice in a row. answering: which one did."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._both: list[Process] = []
        self._turn = 0

    async def start(self) -> None:
        for _ in range(2):
            self._both.append(await self._world.serve())

    def next(self) -> str:
        self._turn += 1
        return self._both[self._turn % 2].url

    async def kill_answering(self) -> None:
        number = self._turn % 2
        self._both[number].kill()
        self._both[number] = await asyncio.to_thread(self._world.installation.start)

    def end(self) -> None:
        for process in self._both:
            process.terminate()


async def test_an_upload_goes_on_whatever_is_killed(world: World):
    kills, dice = rounds(3, 10), random.Random(7)
    replicas = Replicas(world)
    await replicas.start()
    await world.make_bucket()
    data = dice.randbytes(SIZE_BYTES)
    upload = ResumedUpload(replicas.next, data, "film", pace_bytes_s=PACE_BYTES_S)
    running = asyncio.create_task(upload.run())
    for number in range(1, kills + 1):
        await _reaches(upload, running, number * SIZE_BYTES // (kills + 2))
        await asyncio.sleep(dice.uniform(0, 0.3))
        await replicas.kill_answering()
        if number == kills // 2:
            for server in (world.servers.s3, world.servers.mongo):
                server.kill()
                await server.come_back()
    await running
    assert await upload.matches(replicas.next())
    await asyncio.to_thread(replicas.end)
    again = upload.sent - SIZE_BYTES
    await world.settle(
        "F5, killed",
        kills=kills,
        turns=upload.turns,
        sent_again_bytes=again,
        sent_again_a_turn_bytes=again // max(1, upload.turns - 1),
        longest_pause_s=round(upload.longest_pause_s, 2),
    )
    assert again <= (upload.turns - 1) * LOST_BYTES


async def _reaches(upload: ResumedUpload, running: asyncio.Task[None], sent: int) -> None:
    give_up = time.monotonic() + 60
    while upload.offset + PART_BYTES < sent and upload.sent < sent + upload.turns * LOST_BYTES:
        assert not running.done(), running
        assert time.monotonic() < give_up, f"it stays at {upload.offset}"
        await asyncio.sleep(0.02)


def test_f5_an_upload_goes_on_through_a_network_that_loses_packets(
    tmp_path: Path, report: Report
) -> None:
    """One packet in twenty, and all of them for a while; in a network namespace."""
    require_namespace()
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.faults.lossy_network", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    report.add("F5, 5% loss", **found)
    assert found["matches"]
    assert found["sent_again_bytes"] <= (found["turns"] - 1) * LOST_BYTES


def require_namespace() -> None:
    """What the kernel must allow and have; not every container may."""
    tried = (
        subprocess.run(
            [
                "unshare",
                "--net",
                "nft",
                "add table inet t; add chain inet t c; "
                "add rule inet t c numgen random mod 100 < 5 drop",
            ],
            capture_output=True,
            check=False,
        )
        if shutil.which("unshare") and shutil.which("nft")
        else None
    )
    if tried is None or tried.returncode != 0:
        pytest.skip("no network namespace with nftables here")
