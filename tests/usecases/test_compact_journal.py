"""Compaction on stores in memory: few objects, nothing lost, no dead come back."""

from __future__ import annotations

import pytest

from service.errors import JournalDamaged, OutcomeUnknown
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT
from service.model.preconditions import Preconditions
from service.usecases import compact_journal as compaction
from service.usecases.compact_journal import FAN, choose, compact_journal, tier
from service.usecases.delete_object import delete_object
from service.usecases.journal import Run, list_runs
from service.usecases.runtime import Runtime
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put
from tests.usecases.journal_world import (
    Crash,
    journal_keys,
    last_events,
    leadership,
    publish,
    struck,
)

HOUR_S = 3600


async def compact(runtime: Runtime, damaged: set[str] | None = None) -> int:
    held = leadership(runtime)
    publisher = await held.lead()
    assert publisher is not None
    return await compact_journal(runtime, held, publisher, set() if damaged is None else damaged)


async def fill(runtime: Runtime, put: Put, objects: int = FAN, name: str = "k") -> None:
    for number in range(objects):
        await put(b"x" * number, f"{name}{number}")
        await publish(runtime)


async def delete(runtime: Runtime, key: str) -> None:
    await delete_object(runtime, DEFAULT_TENANT, "films", key, Preconditions())
    await publish(runtime)


def run(size_bytes: int, name: str = "r") -> Run:
    return Run(name, 1, 1, [(f"{name}.0", size_bytes)])


def test_tiers_grow_eightfold():
    assert [tier(kib << 10) for kib in (0, 63, 64, 511, 512, 4095, 4096)] == [0, 0, 1, 1, 2, 2, 3]


def test_a_full_tier_is_merged_with_all_below_it():
    small, large = [run(1)] * 3, [run(1 << 20)] * FAN
    assert choose(small) == []
    assert choose(small + large[1:]) == []
    assert choose([*small, run(1 << 30), *large]) == [*small, *large]


async def test_many_small_objects_become_one_and_say_the_same(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    await fill(runtime, put)
    before = await last_events(runtime)
    assert await compact(runtime) == FAN
    assert len(journal_keys(blobs)) == 1
    assert await last_events(runtime) == before
    assert await compact(runtime) == 0


async def test_their_number_stays_bounded(runtime: Runtime, blobs: FakeBlobStore, put: Put) -> None:
    most = 0
    for number in range(120):
        await put(b"x", f"k{number % 20}")
        await publish(runtime)
        await compact(runtime)
        most = max(most, len(journal_keys(blobs)))
    assert most <= 2 * FAN
    assert len(await last_events(runtime)) == 21


async def test_a_large_run_comes_in_parts(
    runtime: Runtime, blobs: FakeBlobStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "PART_EVENTS", 3)
    await fill(runtime, put)
    before = await last_events(runtime)
    await compact(runtime)
    assert [key.rpartition(".")[2] for key in journal_keys(blobs)] == ["000000", "000001", "000002"]
    assert len(await list_runs(runtime)) == 1
    assert await last_events(runtime) == before


@pytest.mark.parametrize("before", [True, False], ids=["not done", "answer lost"])
@pytest.mark.parametrize("error", [Crash, OutcomeUnknown])
@pytest.mark.parametrize("step", ["put", "delete"])
async def test_a_failure_anywhere_loses_nothing_and_the_next_one_goes_on(
    runtime: Runtime,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[Exception],
    before: bool,
) -> None:
    monkeypatch.setattr(compaction, "PART_EVENTS", 3)
    await fill(runtime, put)
    await delete(runtime, "k1")
    expected = await last_events(runtime)
    with struck(blobs, step, before=before, error=error), pytest.raises(error):
        await compact(runtime)
    assert await last_events(runtime) == expected
    await fill(runtime, put, name="more")
    expected = await last_events(runtime)
    await compact(runtime)
    assert await last_events(runtime) == expected
    assert len(await list_runs(runtime)) == 1


async def test_a_stale_compaction_only_leaves_duplicates(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    """Both have read the same sources; the slow one writes after the other deleted them."""
    await fill(runtime, put)
    expected = await last_events(runtime)
    whole = blobs.put

    async def slow(*args) -> None:
        blobs.put = whole
        await compact(runtime)
        await whole(*args)

    blobs.put = slow
    await compact(runtime)
    assert len(journal_keys(blobs)) == 2
    assert await last_events(runtime) == expected


async def test_a_removal_stays_until_nothing_can_contradict_it(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await fill(runtime, put)
    await delete(runtime, "k1")
    retention_s = runtime.settings.journal.retention_s

    async def again() -> bool:
        await fill(runtime, put, name="more")
        await compact(runtime)
        return any(subject.endswith("/k1") for subject in await last_events(runtime))

    assert await again(), "it superseded the creation in this one"
    metadata.clock.advance(2 * retention_s)
    assert await again(), "alone only since now"
    metadata.clock.advance(retention_s / 2)
    assert await again()
    metadata.clock.advance(retention_s)
    assert not await again()


async def test_a_late_creation_meets_its_removal_and_takes_the_mark_away(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await fill(runtime, put)
    old = journal_keys(blobs)[1]
    kept = blobs.blobs[old]
    await delete(runtime, "k1")
    for _ in range(2):
        await fill(runtime, put, name="more")
        await compact(runtime)
    blobs.blobs[old] = kept
    metadata.clock.advance(2 * runtime.settings.journal.retention_s)
    await fill(runtime, put, name="more")
    await compact(runtime)
    [event] = [e for name, e in (await last_events(runtime)).items() if name.endswith("/k1")]
    assert event.removes


async def test_revoked_keys_and_live_buckets_are_kept_for_ever(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    bucket = await metadata.buckets.create(DEFAULT_TENANT, "gone", BucketSettings())
    nonce = await metadata.buckets.begin_delete(DEFAULT_TENANT, bucket.id)
    await metadata.buckets.remove(DEFAULT_TENANT, bucket.id, nonce)
    for _ in range(4):
        await fill(runtime, put)
        await compact(runtime)
        metadata.clock.advance(2 * runtime.settings.journal.retention_s)
    subjects = [name.split("/")[0] for name in await last_events(runtime)]
    assert subjects.count("bucket") == 1


async def test_a_damaged_source_stays_where_it_is(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    await fill(runtime, put, FAN + 1)
    broken = journal_keys(blobs)[3]
    blobs.blobs[broken] = blobs.blobs[broken][:-9]
    damaged: set[str] = set()
    with pytest.raises(JournalDamaged):
        await compact(runtime, damaged)
    assert damaged == {broken}
    assert await compact(runtime, damaged) == FAN
    assert broken in journal_keys(blobs)
    assert len(journal_keys(blobs)) == 2
