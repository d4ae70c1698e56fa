"""The schema's version: who may start, and what `migrate` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest
from metadata_engines import TENANT, World
from test_outbox import api_key, drained

from service.errors import SchemaMismatch
from service.model.event import EventType
from service.model.search import Sort, Wanted
from service.protocol.terms import word_terms
from service.settings import Metadata
from service.stores.mongo import open_metadata
from service.stores.mongo.driver import Database, connect, open_database
from service.stores.mongo.indexes import INDEXES
from service.stores.mongo.schema import SCHEMA_VERSION, STEPS, migrate, prepare


@pytest.fixture
async def database(mongo_settings: Metadata) -> AsyncIterator[Database]:
    client = connect(mongo_settings)
    yield open_database(client, mongo_settings.database)
    client.close()


async def version_in(database: Database) -> Any:
    return (await database["meta"].find_one({"_id": "schema"}))["version"]


async def test_start_makes_an_empty_database_ready(mongo_settings: Metadata, database: Database):
    store = open_metadata(mongo_settings)
    await store.start()
    await store.start()
    assert await version_in(database) == SCHEMA_VERSION
    for index in INDEXES:
        assert index.name in await database[index.collection].index_information()
    await store.close()


async def test_replicas_may_start_at_the_same_time(mongo_settings: Metadata, database: Database):
    stores = [open_metadata(mongo_settings) for _ in range(5)]
    await asyncio.gather(*(store.start() for store in stores))
    assert await version_in(database) == SCHEMA_VERSION
    for store in stores:
        await store.close()


async def test_start_and_migrate_refuse_a_newer_schema(
    mongo_settings: Metadata, database: Database
):
    await database["meta"].insert_one({"_id": "schema", "version": SCHEMA_VERSION + 1})
    store = open_metadata(mongo_settings)
    with pytest.raises(SchemaMismatch, match="newer release"):
        await store.start()
    with pytest.raises(SchemaMismatch, match="newer release"):
        await store.migrate()
    assert await version_in(database) == SCHEMA_VERSION + 1
    await store.close()


async def test_start_asks_for_migrate_where_the_schema_is_older(database: Database):
    await database["meta"].insert_one({"_id": "schema", "version": 1})
    with pytest.raises(SchemaMismatch, match="mediagate migrate"):
        await prepare(database, version=3)


async def test_migrate_takes_each_missing_step_once_and_in_order(database: Database):
    taken: list[int] = []

    async def step(number: int, database: Database) -> None:
        assert await version_in(database) == number
        taken.append(number)

    steps = {n: lambda database, n=n: step(n, database) for n in (1, 2, 3)}
    await database["meta"].insert_one({"_id": "schema", "version": 2})
    assert await migrate(database, version=4, steps=steps) == 4
    assert taken == [2, 3]
    assert await migrate(database, version=4, steps=steps) == 4
    assert taken == [2, 3]
    await prepare(database, version=4)


async def test_a_step_that_fails_is_taken_again(database: Database):
    attempts: list[int] = []

    async def step(database: Database) -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise RuntimeError("the first time")

    await database["meta"].insert_one({"_id": "schema", "version": 1})
    with pytest.raises(RuntimeError):
        await migrate(database, version=2, steps={1: step})
    assert await version_in(database) == 1
    assert await migrate(database, version=2, steps={1: step}) == 2


async def test_the_journal_begins_with_what_is_there_already(
    mongo_settings: Metadata, database: Database
):
    """Schema 1 had no events of buckets and keys, and none that waited for anything."""
    store = open_metadata(mongo_settings)
    await store.start()
    world = await World(store, asyncio.sleep).open()
    version = await world.put()
    key = await api_key(world)
    await store.keys.revoke(TENANT, key.id)
    revoked = await store.keys.get(key.id)
    await database["events"].delete_many({"version": {"$exists": False}})
    await database["events"].update_many({}, {"$unset": {"pending": True}})
    await database["meta"].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    for _ in range(2):
        assert await store.migrate() == SCHEMA_VERSION
        await STEPS[1](database)
    events = {event.type: event for event in await drained(world)}
    assert {kind: event.of for kind, event in events.items()} == {
        EventType.OBJECT_CREATED: version,
        EventType.BUCKET_CREATED: world.bucket,
        EventType.KEY_REVOKED: revoked,
    }
    await STEPS[1](database)
    assert await drained(world) == []
    await store.close()


async def test_objects_stored_before_there_was_a_search_are_found(
    mongo_settings: Metadata, database: Database
):
    store = open_metadata(mongo_settings)
    await store.start()
    world = await World(store, asyncio.sleep).open()
    versions = [await world.put(key) for key in ("one", "two")]
    stored = await database["versions"].find({}).to_list(None)
    await database["versions"].update_many({}, {"$unset": {"search": True}})
    await database["meta"].update_one({"_id": "schema"}, {"$set": {"version": 2}})
    wanted = Wanted(terms=tuple(word_terms("tw")))
    for found in ((), (versions[1],), (versions[1],)):
        search = store.versions.search(
            *world.place, wanted, Sort(), after=None, limit=10, max_examined=100
        )
        assert (await search).versions == found
        assert await store.migrate() == SCHEMA_VERSION
        await STEPS[2](database)
    assert await database["versions"].find({}).to_list(None) == stored
    await store.close()


async def test_migrate_brings_an_empty_database_to_this_release(mongo_settings: Metadata):
    store = open_metadata(mongo_settings)
    assert await store.migrate() == SCHEMA_VERSION
    await store.close()


def test_there_is_a_step_from_every_earlier_version():
    assert set(STEPS) == set(range(1, SCHEMA_VERSION))


async def test_the_database_is_left_alone_by_merely_opening(mongo_settings: Metadata):
    await open_metadata(mongo_settings).close()
    with pymongo.MongoClient(mongo_settings.url.get_secret_value()) as client:
        assert mongo_settings.database not in client.list_database_names()
