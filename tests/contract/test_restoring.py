"""Filling an empty database: what every engine promises (journal_port.py, Restoring)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from metadata_engines import TENANT, World
from test_outbox import api_key, drained

from service.errors import Conflict, SchemaMismatch
from service.model.event import Publisher
from service.settings import Metadata
from service.stores.mongo import open_metadata
from service.stores.ports import MetadataStore
from tests.fakes.metadata import FakeMetadata


@pytest.fixture(params=["memory", "mongo"])
async def empty(request: pytest.FixtureRequest):
    """An engine without anything in it."""
    if request.param == "memory":
        yield FakeMetadata()
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
