"""What a crowd does to the others: the memory of a process, and how long its answers take."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.load.raw import Broken, Connection, Service

SAMPLE_S = 0.1
_TICKS_S = os.sysconf("SC_CLK_TCK")


class Memory:
    """Resident bytes of a process, sampled; and the CPU seconds that it used meanwhile."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start_bytes = self.peak_bytes = self.end_bytes = resident_bytes(pid)
        self._cpu_before_s = self._cpu_after_s = cpu_s(pid)

    def sample(self) -> None:
        self.end_bytes = resident_bytes(self.pid)
        self.peak_bytes = max(self.peak_bytes, self.end_bytes)
        self._cpu_after_s = cpu_s(self.pid)

    def as_dict(self) -> dict[str, float]:
        return {
            "pid": self.pid,
            "rss_start_bytes": self.start_bytes,
            "rss_peak_bytes": self.peak_bytes,
            "rss_end_bytes": self.end_bytes,
            "cpu_s": round(self._cpu_after_s - self._cpu_before_s, 2),
        }


def resident_bytes(pid: int) -> int:
    """Raises OSError where there is no such process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0  # a zombie


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


@asynccontextmanager
async def watched(*pids: int) -> AsyncIterator[list[Memory]]:
    """Samples while the block runs; a process that ends keeps its last sample."""
    memories = [Memory(pid) for pid in pids]

    async def sampling() -> None:
        while True:
            for memory in memories:
                with suppress(OSError):
                    memory.sample()
            await asyncio.sleep(SAMPLE_S)

    task = asyncio.create_task(sampling())
    try:
        yield memories
    finally:
        task.cancel()
        for memory in memories:
            with suppress(OSError):
                memory.sample()


class Probe:
    """A client of ordinary speed beside the crowd: the time to the first byte of small GETs."""

    def __init__(self, service: Service, path: str, interval_s: float = 0.05) -> None:
        self._service, self._path, self._interval_s = service, path, interval_s
        self._taken_ms: list[float] = []
        self.errors = 0

    async def run(self, seconds: float) -> dict[str, float]:
        """Percentiles over so many seconds."""
        self._taken_ms, self.errors = [], 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._once()
            await asyncio.sleep(self._interval_s)
        return self._told()

    async def _once(self) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(30), Connection.open(self._service) as connection:
                await connection.ask("GET", self._path)
                answer = await connection.answer()
                self._taken_ms.append((time.perf_counter() - began) * 1000)
                if answer.status != 200:
                    self.errors += 1
        except (OSError, Broken, TimeoutError):
            self.errors += 1

    def _told(self) -> dict[str, float]:
        if len(self._taken_ms) < 2:
            return {"requests": len(self._taken_ms), "errors": self.errors}
        cuts = statistics.quantiles(self._taken_ms, n=100, method="inclusive")
        return {
            "requests": len(self._taken_ms),
            "errors": self.errors,
            "p50_ms": round(cuts[49], 2),
            "p99_ms": round(cuts[98], 2),
        }


def allow_many_sockets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
