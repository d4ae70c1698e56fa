"""One installation on real servers, and what must hold of it once all has settled.

`make faults N=300` sets how many rounds the long forms have.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, COMMAND, Installation, Process, install
from tests.faults.engines import InMongo, InSqlite, Kept
from tests.faults.load import BUCKET, PART_BYTES, Load, Verdict, duplicates, judge
from tests.faults.report import Report
from tests.faults.servers import Servers

ROUNDS = int(os.environ.get("MEDIAGATE_TEST_FAULTS_N", "0"))
"""0: the short forms."""
LONG = ROUNDS > 0
LEASE_S = 4 if LONG else 2


def rounds(short: int, divisor: int = 1) -> int:
    return max(short, ROUNDS // divisor) if LONG else short


class World:
    """One installation on the servers: a bucket and a database of its own."""

    def __init__(self, servers: Servers, folder: Path, report: Report, engine: str) -> None:
        self.servers = servers
        self.report = report
        self.engine = engine
        stack = servers.stack(metadata=engine == "mongo")
        self.installation: Installation = install(stack, folder)
        self.kept: Kept = (
            InMongo(servers, self.installation.s3_bucket)
            if engine == "mongo"
            else InSqlite(folder / "metadata.sqlite3")
        )
        own = {
            "UPLOADS__LEASE_S": LEASE_S,
            "UPLOADS__PART_BYTES": PART_BYTES,
            "UPLOADS__LARGE_PART_BYTES": PART_BYTES,
            "SWEEP__ENABLED": "true",
            "SWEEP__INTERVAL_S": 1,
        }
        self.installation.settings.update({f"MEDIAGATE_{k}": str(v) for k, v in own.items()})
        self.current: Process | None = None
        self._strangers = set(servers.unfinished_files())

    @property
    def url(self) -> str:
        assert self.current is not None
        return self.current.url

    async def serve(self, **settings: object) -> Process:
        self.current = await asyncio.to_thread(self.installation.start, **settings)
        return self.current

    async def make_bucket(self) -> None:
        async with (
            ClientSession(self.url, headers=AUTHORIZED) as http,
            http.put(BUCKET) as response,
        ):
            assert response.status == 201

    async def settle_and_judge(self, load: Load, *, bar: str) -> Verdict:
        """Nothing lost, nothing made up, nothing left; on a process without faults around it."""
        if self.current is None or self.current.popen.poll() is not None:
            await self.serve()
        verdict = await judge(self.url, load)
        assert verdict.clean, verdict
        assert verdict.read_back >= len(load.acknowledged)
        await asyncio.to_thread(self.current.terminate)
        twice = duplicates(await self.kept.created(), load)
        await self.settle(
            bar,
            acknowledged=load.acks,
            read_back_by_digest=verdict.read_back,
            lost=len(verdict.lost) + len(verdict.wrong),
            duplicates=len(twice),
            answers=dict(load.answers),
        )
        assert not twice
        return verdict

    async def settle(self, bar: str, **figures: object) -> None:
        """Without a process: after the sweeps the store holds what the database needs. figures:
        for the report."""
        report = await self._sweep_until_settled()
        kept = await self.kept.blob_keys()
        in_folder = await asyncio.to_thread(
            self.servers.blobs_in_folder, self.installation.s3_bucket
        )
        left = sorted(await self.installation.store_keys()) if in_folder is None else in_folder
        files = set(self.servers.unfinished_files()) - self._strangers
        self.report.add(
            f"{bar}, {self.engine}",
            **figures,
            leaked_blobs=len(set(left) - set(kept)),
            missing_blobs=len(set(kept) - set(left)),
            leaked_multipart_files=len(files),
            looked_for_in="the data folder" if in_folder is not None else "the S3 listing",
            swept=report,
        )
        assert left == kept
        assert not files

    async def _sweep_until_settled(self) -> dict[str, int]:
        """A transaction that a killed process left open keeps its documents until the database
        ends it (`transactionLifetimeLimitSeconds`, 60 s): waited for in the long forms, and else
        ended as an operator would."""
        await asyncio.sleep(LEASE_S + 0.3)
        if not LONG:
            await self.kept.end_transactions()
        give_up = time.monotonic() + (150 if LONG else 30)
        while time.monotonic() < give_up:
            report = await asyncio.to_thread(self._sweep)
            if report["open"] == report["tombstones"] == report["failed"] == 0:
                return report
            await asyncio.sleep(0.5)
        raise AssertionError(f"the ledger does not settle: {report}")

    def _sweep(self) -> dict[str, int]:
        """`mediagate sweep --once`, with deadlines that have passed; it may leave something."""
        done = subprocess.run(
            [COMMAND, "sweep", "--once"],
            env=self.installation.environment(HTTP__MAX_DOWNLOAD_S=0.1, SWEEP__GRACE_S=0.2),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        found: dict[str, int] = json.loads(done.stdout)
        return found
