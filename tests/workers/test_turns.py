"""Long cycles in several replicas: who runs one, when, and what the others show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.model.audit import Progress
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.usecases.byte_budget import ByteBudget
from service.usecases.runtime import Runtime
from service.usecases.tasks import Tasks
from service.workers import turns
from service.workers.auditor import run_auditor
from service.workers.scrubber import run_scrubber
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata

WORKER, INTERVAL_S = "tester", 1000.0


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOOK_S", 0.01)


@pytest.fixture
def metadata() -> FakeMetadata:
    return FakeMetadata()


@pytest.fixture
def runtime(metadata: FakeMetadata) -> Runtime:
    return Runtime(Settings(), FakeBlobStore(), metadata, ByteBudget(1), Tasks(), Metrics())


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Cycles:
    """Counts how many run, and how many at a time."""

    def __init__(self, metadata: FakeMetadata, lasting_s: float = 0) -> None:
        self.metadata, self.lasting_s = metadata, lasting_s
        self.begun = self.ended = self.most = 0

    async def __call__(self) -> None:
        self.begun += 1
        self.most = max(self.most, self.begun - self.ended)
        try:
            await asyncio.sleep(self.lasting_s)
        finally:
            self.ended += 1
        now = self.metadata.clock.now
        await self.metadata.audits.save_progress(WORKER, Progress(now, now, {"a": 1}))

    def turn(self, runtime: Runtime) -> Any:
        return turns.take_turns(runtime, WORKER, INTERVAL_S, self, lambda _: None)


async def test_a_cycle_runs_once_an_interval(runtime: Runtime, metadata: FakeMetadata) -> None:
    cycles = Cycles(metadata)
    async with running(cycles.turn(runtime)):
        await asyncio.sleep(0.1)
        assert cycles.begun == 1
        metadata.clock.advance(INTERVAL_S + 1)
        await asyncio.sleep(0.1)
        assert cycles.begun == 2


async def test_a_cycle_that_was_cut_off_is_due_at_once(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    await metadata.audits.save_progress(WORKER, Progress(began_at=metadata.clock.now))
    cycles = Cycles(metadata)
    async with running(cycles.turn(runtime)):
        await asyncio.sleep(0.1)
    assert cycles.begun == 1


async def test_one_replica_at_a_time(runtime: Runtime, metadata: FakeMetadata) -> None:
    cycles = Cycles(metadata, lasting_s=0.1)
    async with running(cycles.turn(runtime)), running(cycles.turn(runtime)):
        await asyncio.sleep(0.3)
    assert (cycles.begun, cycles.most) == (1, 1)
    assert metadata.leases.held == {}


async def test_whoever_loses_the_lease_stops(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LEASE_S", 0.04)
    cycles = Cycles(metadata, lasting_s=60)
    async with running(cycles.turn(runtime)):
        await asyncio.sleep(0.1)
        assert cycles.begun == 1
        metadata.leases.held[WORKER] = ("another", metadata.clock.now.replace(year=2100))
        await asyncio.sleep(0.1)
        assert cycles.ended == 1


async def test_a_failure_is_tried_again(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([StoreUnavailable(), KeyError("a bug")])
    cycles = Cycles(metadata)

    async def cycle() -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        await cycles()

    work = turns.take_turns(runtime, WORKER, INTERVAL_S, cycle, lambda _: None)
    async with running(work):
        await asyncio.sleep(0.2)
    assert cycles.ended == 1


async def test_every_replica_shows_what_the_last_cycle_of_any_found(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    other = replace(runtime, metrics=Metrics())
    done = Progress(metadata.clock.now, metadata.clock.now, {"stray_blob": 7})
    await metadata.audits.save_progress("auditor", done)
    await metadata.audits.save_progress("scrubber", done)
    async with running(run_auditor(other)), running(run_scrubber(other)):
        await asyncio.sleep(0.1)
    text = other.metrics.render().decode()
    assert 'mediagate_audit_findings{kind="stray_blob"} 7.0' in text
    assert 'finished_timestamp_seconds{worker="scrubber"} 1.767' in text


async def test_the_workers_run_their_use_cases(runtime: Runtime, metadata: FakeMetadata) -> None:
    async with running(run_auditor(runtime)), running(run_scrubber(runtime)):
        await asyncio.sleep(0.1)
    for worker in ("auditor", "scrubber"):
        progress = await metadata.audits.progress(worker)
        assert progress.finished_at == metadata.clock.now
