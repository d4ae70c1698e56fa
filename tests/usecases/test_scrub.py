"""The scrubber on stores in memory: what it finds, marks, unmarks, and where it goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from service.errors import StoreUnavailable
from service.model.ids import DEFAULT_TENANT, BlobKey
from service.model.version import Version
from service.settings import MIB, Scrub
from service.usecases import scrub as scrubbing
from service.usecases.get_object import find_version
from service.usecases.pace import Pace
from service.usecases.runtime import Runtime
from service.usecases.scrub import SCRUBBER, scrub
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, some_bytes
from tests.usecases.test_put_object import read_back


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.usecases.patience.PAUSE_S", 0)


@pytest.fixture
async def runtime(runtime: Runtime) -> Runtime:
    chosen = Scrub(rate_bytes_s=1 << 40)
    return replace(runtime, settings=runtime.settings.model_copy(update={"scrub": chosen}))


def flip(blobs: FakeBlobStore, key: BlobKey, position: int = 0) -> None:
    """One byte in the store, behind everybody's back."""
    data = bytearray(blobs.blobs[key])
    data[position] ^= 1
    blobs.blobs[key] = bytes(data)


async def latest(runtime: Runtime, key: str) -> Version:
    _, version = await find_version(runtime, DEFAULT_TENANT, "films", key)
    return version


def events(metadata: FakeMetadata) -> list[tuple[str, str]]:
    return [(event.type, event.key) for event in metadata.replica.local.events]


async def test_whole_blobs_of_every_size_are_whole(runtime: Runtime, put: Put) -> None:
    sizes = (0, 1, 100_000, 12 * MIB)
    for size in sizes:
        await put(some_bytes(size), f"size/{size}")
    report = await scrub(runtime)
    assert report.as_dict() == {
        "blobs": 4,
        "size_bytes": sum(sizes),
        "damaged": 0,
        "repaired": 0,
        "missing": 0,
    }


@pytest.mark.parametrize("position", [0, 9 * MIB, -1])
async def test_one_flipped_byte_is_marked_told_and_counted(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put, position: int
) -> None:
    damaged = await put(some_bytes(12 * MIB), "damaged")
    await put(b"whole", "whole")
    flip(blobs, damaged.version.blob_key, position)
    with capture_logs() as logs:
        report = await scrub(runtime)
    assert (report.blobs, report.damaged) == (2, 1)
    version = await latest(runtime, "damaged")
    assert version.damaged_at == metadata.clock.now
    assert (await latest(runtime, "whole")).damaged_at is None
    assert events(metadata)[-1] == ("object.damaged", "damaged")
    assert metadata.replica.local.events[-1].seq == version.last_seq > damaged.version.seq
    (told,) = [line for line in logs if line["event"] == "blob_damaged"]
    assert told["version"] == version.id
    assert 'scrubbed_blobs_total{result="damaged"} 1.0' in runtime.metrics.render().decode()


async def test_a_blob_of_another_size_is_damaged(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    """A longer one reads the same up to its version's size."""
    for name, data in (("longer", b"0123456789!"), ("shorter", b"012345678")):
        result = await put(b"0123456789", name)
        blobs.blobs[result.version.blob_key] = data
    assert (await scrub(runtime)).damaged == 2


async def test_a_damaged_version_is_read_as_it_is_and_the_log_tells(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    result = await put(b"0123456789", "a")
    flip(blobs, result.version.blob_key)
    await scrub(runtime)
    with capture_logs() as logs:
        assert await read_back(runtime) == b"1123456789"
    assert "damaged_version_read" in [line["event"] for line in logs]


async def test_damage_is_told_once_and_its_end_too(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    result = await put(b"0123456789", "a")
    flip(blobs, result.version.blob_key)
    assert (await scrub(runtime)).damaged == 1
    assert (await scrub(runtime)).damaged == 1
    flip(blobs, result.version.blob_key)
    report = await scrub(runtime)
    assert (report.damaged, report.repaired) == (0, 1)
    assert (await latest(runtime, "a")).damaged_at is None
    assert [kind for kind, _ in events(metadata)] == [
        "object.created",
        "object.damaged",
        "object.repaired",
    ]


async def test_a_bad_reading_alone_is_no_damage(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await put(b"0123456789", "a")
    read, readings = blobs.read, iter([True])

    @asynccontextmanager
    async def once_wrong(key: BlobKey, start: int, end: int) -> AsyncIterator[object]:
        wrong = next(readings, False)
        if wrong:
            flip(blobs, result.version.blob_key)
        async with read(key, start, end) as chunks:
            yield chunks
        if wrong:
            flip(blobs, result.version.blob_key)

    monkeypatch.setattr(blobs, "read", once_wrong)
    assert (await scrub(runtime)).damaged == 0


async def test_a_blob_that_is_gone_is_counted_and_not_marked(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    result = await put(b"0123456789", "a")
    del blobs.blobs[result.version.blob_key]
    report = await scrub(runtime)
    assert (report.missing, report.damaged) == (1, 0)
    assert (await latest(runtime, "a")).damaged_at is None


async def test_dead_and_just_replaced_versions_are_passed_over(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = await put(b"dead", "a")
    old = await put(b"old", "a")
    flip(blobs, dead.version.blob_key)
    flip(blobs, old.version.blob_key)
    head = blobs.head

    async def replaced_meanwhile(key: BlobKey) -> object:
        if (await latest(runtime, "a")).id == old.version.id:
            await put(b"new", "a")
        return await head(key)

    monkeypatch.setattr(blobs, "head", replaced_meanwhile)
    assert (await scrub(runtime)).damaged == 0
    assert "object.damaged" not in [kind for kind, _ in events(metadata)]


def breaking(
    blobs: FakeBlobStore, monkeypatch: pytest.MonkeyPatch, keys: set[BlobKey] | None
) -> None:
    """The store cannot read these blobs; None for none at all."""
    read = blobs.read

    @asynccontextmanager
    async def broken(key: BlobKey, start: int, end: int) -> AsyncIterator[object]:
        if keys is None or key in keys:
            raise StoreUnavailable
        async with read(key, start, end) as chunks:
            yield chunks

    monkeypatch.setattr(blobs, "read", broken)


async def test_a_blob_that_the_store_cannot_read_while_it_reads_others_is_damaged(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [await put(b"0123456789", name) for name in "abc"]
    breaking(blobs, monkeypatch, {results[1].version.blob_key})
    report = await scrub(runtime)
    assert (report.blobs, report.damaged) == (3, 1)
    assert (await latest(runtime, "b")).damaged_at is not None


async def test_a_store_that_reads_nothing_marks_nothing(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in "abc":
        await put(b"0123456789", name)
    with monkeypatch.context() as patch:
        breaking(blobs, patch, None)
        with pytest.raises(StoreUnavailable):
            await scrub(runtime)
    assert (await scrub(runtime)).damaged == 0


async def test_a_cycle_goes_on_after_a_restart_in_mid_blob(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scrubbing, "SAVE_EVERY_S", 0)
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", MIB)
    for number in range(3):
        await put(some_bytes(5 * MIB, number), f"file/{number}")
    read, reads = blobs.read, []

    @asynccontextmanager
    async def dies(key: BlobKey, start: int, end: int) -> AsyncIterator[object]:
        reads.append((key, start))
        if len(reads) == 9:
            raise KeyboardInterrupt
        async with read(key, start, end) as chunks:
            yield chunks

    monkeypatch.setattr(blobs, "read", dies)
    with pytest.raises(KeyboardInterrupt):
        await scrub(runtime)
    died_at = reads[-1]
    progress = await metadata.audits.progress(SCRUBBER)
    assert (progress.reading, progress.offset) == died_at
    assert progress.finished_at is None
    report = await scrub(runtime)
    assert reads[9] == died_at
    assert len(reads) == 16
    assert (report.blobs, report.size_bytes, report.damaged) == (3, 15 * MIB, 0)
    done = await metadata.audits.progress(SCRUBBER)
    assert done.finished_at == metadata.clock.now
    assert done.position == ""


async def test_from_start_reads_all_again(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    for name in "abc":
        await put(b"0123456789", name)
    keys = sorted(version.blob_key for version in metadata.versions.versions.values())
    there = replace(await metadata.audits.progress(SCRUBBER), position=keys[1])
    await metadata.audits.save_progress(SCRUBBER, replace(there, began_at=metadata.clock.now))
    assert (await scrub(runtime)).blobs == 1
    await metadata.audits.save_progress(SCRUBBER, replace(there, began_at=metadata.clock.now))
    assert (await scrub(runtime, from_start=True)).blobs == 3


async def test_the_rate_is_kept_and_small_blobs_count_for_it(runtime: Runtime, put: Put) -> None:
    chosen = Scrub(rate_bytes_s=MIB)
    runtime = replace(runtime, settings=runtime.settings.model_copy(update={"scrub": chosen}))
    await put(some_bytes(200_000), "a")
    for number in range(3):
        await put(b"0123456789", f"small/{number}")
    began = time.monotonic()
    await scrub(runtime)
    assert 0.3 < time.monotonic() - began < 2


async def test_pace_does_not_make_up_for_idle_time() -> None:
    pace = Pace(1000)
    await pace.spend(50)
    time.sleep(0.2)  # noqa: ASYNC251 - nothing is spent meanwhile
    began = time.monotonic()
    await pace.spend(50)
    assert time.monotonic() - began >= 0.045
