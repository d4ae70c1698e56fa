"""Filling an empty database: what every engine promises (journal_port.py, Restoring)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from metadata_engines import TENANT, World
from metadata_fixtures import ENGINES
from test_outbox import api_key, drained

from service.errors import Conflict, SchemaMismatch
from service.model.bucket import BucketSettings
from service.model.event import Event, EventType, Publisher
from service.model.ids import EventId
from service.settings import Metadata
from service.stores import sqlite
from service.stores.mongo import open_metadata
from service.stores.ports import MetadataStore
from tests.fakes.metadata import FakeMetadata


@pytest.fixture(params=ENGINES)
async def empty(request: pytest.FixtureRequest, tmp_path: Path):
    """An engine without anything in it."""
    if request.param == "memory":
        yield FakeMetadata()
        return
    if request.param == "sqlite":
        file = sqlite.open_metadata(Metadata(url=f"sqlite:///{tmp_path}/empty.sqlite3"))
        await file.start()
        yield file
        await file.close()
        return
    chosen: Metadata = request.getfixturevalue("mongo_settings")
    store = open_metadata(chosen.model_copy(update={"database": f"{chosen.database}-empty"}))
    await store.start()
    yield store
    await store._client.drop_database(store._database.name)
    await store.close()


async def test_a_database_with_anything_in_it_is_refused(world: World):
    with pytest.raises(Conflict, match="not empty"):
        await world.store.restoring.begin()
    assert await world.store.buckets.get(TENANT, "films") == world.bucket
    await world.store.start()


async def test_what_events_say_is_there_again(memory_world: World, empty: MetadataStore):
    world = memory_world
    kept = await world.put("kept")
    await world.put("gone")
    await world.delete("gone")
    key = await api_key(world)
    last = {event.subject: event for event in await drained(world)}
    await empty.restoring.begin()
    await empty.restoring.add(list(last.values()))
    await empty.restoring.finish(epoch=7, position=41)
    assert await empty.buckets.get(TENANT, "films") == world.bucket
    assert await empty.versions.get_latest(*world.place, "kept") == kept
    assert await empty.versions.get_latest(*world.place, "gone") is None
    gone = await world.store.versions.current_seq(*world.place, "gone")
    assert await empty.versions.current_seq(*world.place, "gone") == gone
    assert await empty.keys.get(key.id) == key
    assert (await empty.outbox.backlog()).pending == 0
    assert await empty.outbox.lead("a", 60) == Publisher("a", 8, 41)
    with pytest.raises(Conflict):
        await empty.restoring.begin()


async def test_an_unfinished_rebuild_keeps_services_out_and_begins_anew(
    memory_world: World, empty: MetadataStore
):
    [bucket] = await drained(memory_world)
    await empty.restoring.begin()
    await empty.restoring.add([bucket])
    with pytest.raises(SchemaMismatch):
        await empty.start()
    await empty.start(rebuilding=True)
    await empty.restoring.begin()
    assert await empty.buckets.get(TENANT, "films") is None
    await empty.restoring.add([replace(bucket)])
    await empty.restoring.finish(epoch=1, position=1)
    await empty.start()
    assert await empty.buckets.get(TENANT, "films") == memory_world.bucket


async def test_a_history_is_there_again(memory_world: World, empty: MetadataStore):
    world = await memory_world.keeping()
    await world.put()
    await world.delete()
    await world.put()
    was = await world.history()
    events = {event.subject: event for event in await drained(world)}
    said = {entry.id: entry for entry in was}
    await empty.restoring.begin()
    await empty.restoring.add(
        [replace(each, of=said.get(each.of.id, each.of)) for each in events.values()]
    )
    await empty.restoring.finish(epoch=1, position=1)
    there = elsewhere(world, empty)
    assert await there.history() == was
    assert await there.latest() == was[0]
    assert await empty.buckets.get(TENANT, "kept") == world.bucket
    await there.delete_version(was[0].id)
    assert [entry.id for entry in await there.history()] == [was[1].id, was[2].id]


@pytest.mark.parametrize("others", [True, False])
async def test_what_is_withdrawn_leaves_its_name_to_the_youngest_of_the_others(
    memory_world: World, empty: MetadataStore, others: bool
):
    world = await memory_world.keeping()
    first, second, third = [await world.put() for _ in range(3)]
    bucket, *events = await drained_last(world)
    shown = {first.id: False, second.id: False, third.id: True}
    placed = [replace(each, of=replace(each.of, latest=shown[each.of.id])) for each in events]
    await empty.restoring.begin()
    await empty.restoring.add([bucket, *(placed if others else placed[2:])])
    there = elsewhere(world, empty)
    await empty.restoring.withdraw(third.id)
    assert await empty.versions.current_seq(*world.place, "k") == third.seq
    latest = await there.latest()
    assert (latest.id if latest else None) == (second.id if others else None)
    if others:
        await empty.restoring.withdraw(first.id)
        assert await there.latest() == latest
    assert len(await there.history()) == (1 if others else 0)


def elsewhere(world: World, store: MetadataStore) -> World:
    """The same bucket in another engine."""
    there = World(store, world.pass_time)
    there.bucket = world.bucket
    return there


async def drained_last(world: World) -> list[Event]:
    """The bucket's event and those of its objects."""
    events = [e for e in await drained(world) if getattr(e.of, "bucket_id", None)]
    made = Event(EventId("made"), EventType.BUCKET_CREATED, 1, events[0].at, world.bucket)
    return [made, *events]


async def test_buckets_are_told_that_they_kept_versions(memory_world: World, empty: MetadataStore):
    await memory_world.store.buckets.create(TENANT, "other", BucketSettings())
    await empty.restoring.begin()
    await empty.restoring.add(await drained(memory_world))
    await empty.restoring.keep_versions([])
    await empty.restoring.keep_versions([memory_world.bucket.id])
    found = [await empty.buckets.get(TENANT, name) for name in ("films", "other")]
    assert [bucket.has_kept for bucket in found if bucket] == [True, False]
