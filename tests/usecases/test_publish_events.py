"""Publishing on stores in memory: nothing is skipped, whatever breaks and whoever is slow."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Fenced, OutcomeUnknown, StoreUnavailable
from service.model.bucket import BucketSettings
from service.model.event import EventType
from service.model.ids import DEFAULT_TENANT
from service.model.preconditions import Preconditions
from service.usecases.delete_object import delete_object
from service.usecases.publish_events import forget_published, observe_backlog, publish_events
from service.usecases.runtime import Runtime
from service.workers.publisher import run_publisher
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


def types(events) -> list[EventType]:
    return sorted(event.type for event in events.values())


async def test_everything_pending_goes_into_one_object(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    stored = (await put(b"one", "a")).version
    await put(b"two", "b")
    await delete_object(runtime, DEFAULT_TENANT, "films", "b", Preconditions())
    assert await publish(runtime) == 4
    [key] = journal_keys(blobs)
    assert key.startswith(f"journal/{1:020d}-1-")
    events = await last_events(runtime)
    assert types(events) == ["bucket.created", "object.created", "object.deleted"]
    assert stored in [event.of for event in events.values()]
    assert await publish(runtime) == 0
    assert journal_keys(blobs) == [key]
    assert not metadata.replica.local.pending


async def test_batches_follow_each_other_until_nothing_is_left(
    runtime: Runtime, blobs: FakeBlobStore, put: Put
) -> None:
    limited = runtime.settings.journal.model_copy(update={"batch": 2})
    settings = runtime.settings.model_copy(update={"journal": limited})
    object.__setattr__(runtime, "settings", settings)
    for number in range(6):
        await put(b"x", f"k{number}")
    assert await publish(runtime) == 7
    assert [int(key[8:28]) for key in journal_keys(blobs)] == [1, 3, 5, 7]


@pytest.mark.parametrize("before", [True, False], ids=["not done", "answer lost"])
@pytest.mark.parametrize("error", [Crash, OutcomeUnknown])
@pytest.mark.parametrize("step", ["lead", "claim", "put", "published"])
async def test_a_failure_anywhere_skips_nothing(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    step: str,
    error: type[Exception],
    before: bool,
) -> None:
    await put(b"one", "a")
    target = blobs if step == "put" else metadata.outbox
    with struck(target, step, before=before, error=error), pytest.raises(error):
        await publish(runtime)
    metadata.clock.advance(11)
    await put(b"two", "b")
    assert await publish(runtime, "another") is not None
    events = await last_events(runtime)
    assert types(events) == ["bucket.created", "object.created", "object.created"]
    assert not metadata.replica.local.pending
    written_before = step == "published" or (step == "put" and not before)
    assert len(journal_keys(blobs)) == 1 + written_before


async def test_a_publisher_that_was_paused_can_neither_overwrite_nor_mark(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    """It claims, then sleeps for longer than its lease, and wakes up with its write in hand."""
    await put(b"one", "a")
    whole = blobs.put

    async def slow(*args) -> None:
        blobs.put = whole
        metadata.clock.advance(11)
        assert await publish(runtime, "b") == 2
        await put(b"two", "a")
        await whole(*args)

    blobs.put = slow
    with pytest.raises(Fenced):
        await publish(runtime, "a")
    assert len(metadata.replica.local.pending) == 1
    assert await publish(runtime, "b") == 1
    keys = journal_keys(blobs)
    assert [key[8:30] for key in keys] == [f"{1:020d}-1", f"{3:020d}-2", f"{5:020d}-2"]
    newest = (await last_events(runtime)).popitem()[1]
    assert newest.of.size_bytes == 3
    assert newest.seq == max(event.event.seq for event in metadata.replica.local.published.values())


async def test_nothing_is_sent_under_a_lease_that_may_be_over(
    runtime: Runtime,
    blobs: FakeBlobStore,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put(b"one", "a")
    now_s = 1000.0
    monkeypatch.setattr("service.usecases.publish_events._boot_time_s", lambda: now_s)
    whole = metadata.outbox.claim

    async def slow(*args, **kwargs):
        nonlocal now_s
        batch = await whole(*args, **kwargs)
        now_s += 3600
        metadata.clock.advance(3600)
        assert await metadata.outbox.lead("b", 60) is not None
        return batch

    monkeypatch.setattr(metadata.outbox, "claim", slow)
    with pytest.raises(Fenced):
        await publish(runtime, "a")
    assert journal_keys(blobs) == []


async def test_only_one_of_two_publishes(runtime: Runtime, metadata: FakeMetadata) -> None:
    assert await publish(runtime, "a") == 1
    await metadata.buckets.create(DEFAULT_TENANT, "music", BucketSettings())
    assert await publish(runtime, "b") is None
    metadata.clock.advance(11)
    assert await publish(runtime, "b") == 1


async def test_an_event_that_is_committed_late_is_published_late(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is less than that of an event which was published before it was committed."""
    whole = metadata.uploads.commit_whole
    gate = asyncio.Event()

    async def slow(*args, **kwargs):
        monkeypatch.undo()
        await gate.wait()
        return await whole(*args, **kwargs)

    monkeypatch.setattr(metadata.uploads, "commit_whole", slow)
    late = asyncio.create_task(put(b"late", "late"))
    await asyncio.sleep(0.01)
    await put(b"quick", "quick")
    await publish(runtime)
    gate.set()
    await late
    assert await publish(runtime) == 1
    assert len(await last_events(runtime)) == 3


async def test_the_metrics_tell_how_far_the_journal_is_behind(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"one", "a")
    metadata.clock.advance(7)
    await observe_backlog(runtime)
    rendered = runtime.metrics.render().decode()
    assert "mediagate_journal_lag_seconds 7.0" in rendered
    assert "mediagate_journal_pending_events 2.0" in rendered
    await publish(runtime)
    await observe_backlog(runtime)
    rendered = runtime.metrics.render().decode()
    assert "mediagate_journal_lag_seconds 0.0" in rendered
    assert "mediagate_journal_published_events_total 2.0" in rendered


async def test_published_events_leave_the_outbox_after_their_time(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await publish(runtime)
    await put(b"one", "a")
    metadata.clock.advance(runtime.settings.journal.retention_s)
    await forget_published(runtime)
    assert not metadata.replica.local.published
    assert len(metadata.replica.local.pending) == 1


async def test_the_worker_publishes_until_it_is_stopped_and_leaves_nothing_behind(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    quick = runtime.settings.journal.model_copy(update={"interval_s": 0.05})
    settings = runtime.settings.model_copy(update={"journal": quick})
    object.__setattr__(runtime, "settings", settings)
    worker = asyncio.create_task(run_publisher(runtime))
    with struck(blobs, "put", before=True, error=StoreUnavailable):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert not metadata.replica.local.pending
    await put(b"one", "a")
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert not metadata.replica.local.pending
    assert (await metadata.outbox.lead("b", 60)) is not None


async def test_leading_again_keeps_the_epoch(runtime: Runtime) -> None:
    held = leadership(runtime)
    publisher = await held.lead()
    assert publisher is not None
    await publish_events(runtime, held)
    again = await held.lead()
    assert again is not None
    assert again.epoch == publisher.epoch == 1
    assert again.position == 1
