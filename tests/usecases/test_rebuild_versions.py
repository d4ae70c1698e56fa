"""Rebuilding buckets that keep versions, on stores in memory: the whole history is there again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from service.model.bucket import Bucket, BucketSettings
from service.model.event import EventType
from service.model.ids import DEFAULT_TENANT, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.version import DeleteMarker, Entry, Version
from service.usecases import rebuild as rebuilding
from service.usecases.delete_object import delete_object
from service.usecases.runtime import Runtime
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.fakes.replica import current_of, current_seq, entries_of
from tests.usecases.conftest import Put
from tests.usecases.journal_world import journal_keys, publish
from tests.usecases.test_compact_journal import HOUR_S, compact
from tests.usecases.test_rebuild import after_the_loss, put_in, rebuilt


async def the_bucket(metadata: FakeMetadata) -> Bucket:
    found = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert found is not None
    return found


async def keep_versions(metadata: FakeMetadata, *, on: bool = True) -> Bucket:
    bucket = await the_bucket(metadata)
    return await metadata.buckets.update(
        DEFAULT_TENANT, bucket.id, BucketSettings(versioning=on), revision=bucket.revision
    )


async def delete(runtime: Runtime, key: str = "a", version: VersionId | None = None) -> Entry:
    deleted = await delete_object(runtime, DEFAULT_TENANT, "films", key, Preconditions(), version)
    assert deleted is not None
    return deleted


async def history(metadata: FakeMetadata, key: str = "a") -> list[Entry]:
    bucket = await the_bucket(metadata)
    return await metadata.versions.history(
        DEFAULT_TENANT, bucket.id, key, before_seq=None, limit=1000
    )


async def latest(metadata: FakeMetadata, key: str = "a") -> Version | None:
    bucket = await the_bucket(metadata)
    return await metadata.versions.get_latest(DEFAULT_TENANT, bucket.id, key)


def as_events_tell(entries: list[Entry]) -> list[Entry]:
    """`changed_seq` may be greater after a rebuild: each change of the key is noted."""
    return [replace(entry, changed_seq=0) for entry in entries]


async def test_all_kept_versions_and_markers_are_there_again(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    first = (await put(b"1")).version
    await keep_versions(metadata)
    second = (await put(b"22")).version
    gone = (await put(b"333")).version
    await delete(runtime, version=gone.id)
    marker = await delete(runtime)
    last = (await put(b"4444")).version
    await publish(runtime)
    was = await history(metadata)
    assert [entry.id for entry in was] == [last.id, marker.id, second.id, first.id]
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert (report.objects, report.strays, told) == (3, 1, [])
    assert as_events_tell(await history(empty)) == as_events_tell(was)
    assert await the_bucket(empty) == await the_bucket(metadata)
    assert (await put_in(runtime, b"5", "a")).seq > last.seq


async def test_a_key_that_a_marker_hides_stays_hidden(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await keep_versions(metadata)
    version = (await put(b"1")).version
    marker = await delete(runtime)
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    await rebuilt(runtime)
    assert await latest(empty) is None
    assert [entry.id for entry in await history(empty)] == [marker.id, version.id]
    await delete(runtime, version=marker.id)
    shown = await latest(empty)
    assert shown is not None
    assert shown.id == version.id


async def test_the_deletion_of_the_current_version_outlives_the_database(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    """The one that took its place was not announced again: it is the youngest that counts."""
    await keep_versions(metadata)
    older = (await put(b"1")).version
    newest = (await put(b"2")).version
    await publish(runtime)
    await delete(runtime, version=newest.id)
    await publish(runtime)
    bucket = await the_bucket(metadata)
    seq = current_seq(metadata.replica.local, (DEFAULT_TENANT, bucket.id, "a"))
    runtime, empty = after_the_loss(runtime, metadata)
    await rebuilt(runtime)
    shown = await latest(empty)
    assert shown is not None
    assert shown.id == older.id
    assert shown.last_seq == seq > newest.seq


async def test_what_an_overwrite_ended_does_not_come_back_where_versioning_was_switched_off(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await keep_versions(metadata)
    kept = (await put(b"1")).version
    await put(b"2")
    await keep_versions(metadata, on=False)
    await put(b"3")
    last = (await put(b"4")).version
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    report, _ = await rebuilt(runtime)
    assert [entry.id for entry in await history(empty)] == [last.id, kept.id]
    assert report.strays == 2


async def test_where_the_newest_bytes_are_lost_an_older_version_is_not_shown_as_the_newest(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await keep_versions(metadata)
    older = (await put(b"1")).version
    middle = (await put(b"2")).version
    newest = (await put(b"3")).version
    await publish(runtime)
    del blobs.blobs[newest.blob_key]
    del blobs.blobs[middle.blob_key]
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert {each["version"] for each in told} == {middle.id, newest.id}
    assert report.objects == 1
    assert await latest(empty) is None
    found = await history(empty)
    assert [entry.id for entry in found] == [newest.id, older.id]
    assert isinstance(found[0], DeleteMarker)
    assert found[0].latest


async def test_where_all_bytes_of_a_key_are_lost_a_tombstone_keeps_its_order(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await keep_versions(metadata)
    lost = [(await put(data)).version for data in (b"1", b"2")]
    await publish(runtime)
    for version in lost:
        del blobs.blobs[version.blob_key]
    runtime, empty = after_the_loss(runtime, metadata)
    report, _ = await rebuilt(runtime)
    assert report.unplaced == 2
    assert await history(empty) == []
    bucket = await the_bucket(empty)
    assert current_seq(empty.replica.local, (DEFAULT_TENANT, bucket.id, "a")) == lost[1].seq


def moved(metadata: FakeMetadata, version: Version, to: str, *, cut: bool) -> Version:
    """As a move of one name to another leaves the outbox; cut: without the half that comes last."""
    now = metadata.clock.now
    there = replace(version, id=VersionId(new_id()), key=to, seq=version.seq + 1, created_at=now)
    local = metadata.replica.local
    local.announce(there.id, EventType.OBJECT_CREATED, there.seq, now, there)
    if not cut:
        local.announce(new_id(), EventType.OBJECT_DELETED, there.seq + 1, now, version)
    return there


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_a_blob_is_never_under_two_names_where_the_journal_has_half_a_move(
    runtime: Runtime, metadata: FakeMetadata, put: Put, names: tuple[str, str]
) -> None:
    here, there = names
    source = (await put(b"moved", here)).version
    target = moved(metadata, source, there, cut=True)
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert (report.objects, report.strays) == (1, 0)
    assert [(each["key"], each["version"]) for each in told] == [(here, source.id)]
    assert await latest(empty, there) == target
    assert await latest(empty, here) is None
    bucket = await the_bucket(empty)
    place = (DEFAULT_TENANT, bucket.id, here)
    assert current_seq(empty.replica.local, place) == source.seq


async def test_half_a_move_shows_what_the_name_kept_from_before(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await keep_versions(metadata)
    kept = (await put(b"kept", "a")).version
    source = (await put(b"moved", "a")).version
    moved(metadata, source, "b", cut=True)
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    await rebuilt(runtime)
    shown = await latest(empty, "a")
    assert shown is not None
    assert shown.id == kept.id
    assert shown.last_seq == source.seq


async def test_a_whole_move_leaves_one_name_and_tells_nothing(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    source = (await put(b"moved", "a")).version
    target = moved(metadata, source, "b", cut=False)
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    _, told = await rebuilt(runtime)
    assert told == []
    assert await latest(empty, "b") == target
    assert await latest(empty, "a") is None


async def test_a_bucket_knows_that_it_kept_versions_though_the_journal_lost_when_that_began(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await publish(runtime)
    await keep_versions(metadata)
    await publish(runtime)
    await put(b"1")
    await publish(runtime)
    broken = journal_keys(blobs)[1]
    blobs.blobs[broken] = blobs.blobs[broken][:40]
    runtime, empty = after_the_loss(runtime, metadata)
    report, _ = await rebuilt(runtime)
    assert report.damaged_journal_objects == [broken]
    assert (await the_bucket(empty)).has_kept


@pytest.mark.parametrize("batch", [1, 3, 200])
async def test_a_random_history_is_the_same_after_the_loss(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    """Versioning on and off, overwrites, deletes of names and of versions, compactions between."""
    monkeypatch.setattr(rebuilding, "_BATCH", batch)
    chance = random.Random(batch)
    keys = ["a", "a0", "b", "b/c"]
    for _ in range(150):
        metadata.clock.advance(chance.choice([0, 0.001, 1, HOUR_S]))
        key = chance.choice(keys)
        kept = await history(metadata, key)
        match chance.randrange(8):
            case 0 | 1 | 2:
                await put(b"x", key)
            case 3:
                await delete_object(runtime, DEFAULT_TENANT, "films", key, Preconditions())
            case 4 | 5 if kept:
                await delete(runtime, key, chance.choice(kept).id)
            case 6:
                await keep_versions(metadata, on=chance.random() < 0.7)
            case _:
                await publish(runtime)
                await compact(runtime)
    await publish(runtime)
    was = {key: await state_of(metadata, key) for key in keys}
    assert any(len(entries) > 2 for entries, _ in was.values())
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert told == []
    assert {key: await state_of(empty, key) for key in keys} == was
    assert report.objects == len(
        [e for entries, _ in was.values() for e in entries if isinstance(e, Version)]
    )


async def state_of(metadata: FakeMetadata, key: str) -> tuple[list[Any], Any]:
    bucket = await the_bucket(metadata)
    tables, place = metadata.replica.local, (DEFAULT_TENANT, bucket.id, key)
    current = current_of(tables, place)
    named = current.id if isinstance(current, Version | DeleteMarker) else None
    return as_events_tell(entries_of(tables, place)), named
