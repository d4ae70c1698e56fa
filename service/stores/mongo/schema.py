"""The schema's version in the database, and the steps from one to the next.

`meta` holds {_id: "schema", version}. Only `migrate` changes the version of a database that has
data; a service of another release refuses to start rather than guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from service.errors import SchemaMismatch, StoreUnavailable
from service.model.api_key import ApiKey
from service.model.bucket import Bucket, BucketState
from service.model.event import Event, EventType
from service.model.ids import EventId
from service.stores.mongo.documents import OBJECT, api_key_out, bucket_out
from service.stores.mongo.driver import Database
from service.stores.mongo.events import event_in
from service.stores.mongo.indexes import ensure_indexes
from service.stores.mongo.search_migration import make_searchable
from service.stores.schema_version import SCHEMA_VERSION, UNFINISHED

TRIES, PAUSE_S = 50, 0.02

Step = Callable[[Database], Awaitable[None]]


async def _announce_what_is_there(database: Database) -> None:
    """1 -> 2: the journal begins. Events wait to be published, and buckets and API keys, which had
    none, get theirs. Their ids are those of what they are about, so that none comes twice."""
    unpublished = {"pending": {"$exists": False}, "published_at": {"$exists": False}}
    await database["events"].update_many(unpublished, {"$set": {"pending": True}})
    async for document in database["buckets"].find({}):
        bucket = replace(bucket_out(document), state=BucketState.ACTIVE)
        await _announce(
            database, EventType.BUCKET_CREATED, bucket.revision, bucket.created_at, bucket
        )
    async for document in database["api_keys"].find({}):
        key = api_key_out(document)
        kind, seq = (EventType.KEY_REVOKED, 2) if key.revoked_at else (EventType.KEY_CREATED, 1)
        await _announce(database, kind, seq, key.revoked_at or key.created_at, key)


async def _announce(
    database: Database, kind: EventType, seq: int, at: datetime, of: Bucket | ApiKey
) -> None:
    document = event_in(Event(EventId(of.id), kind, seq, at, of))
    del document["_id"]
    await database["events"].update_one({"_id": of.id}, {"$setOnInsert": document}, upsert=True)


async def _mark_what_counts(database: Database) -> None:
    """2 -> 3: buckets may keep versions, so an object that counts says so itself; and objects have
    what searches read by."""
    await database["versions"].update_many(
        {"kind": OBJECT, "latest": True}, {"$set": {"live": True}}
    )
    await make_searchable(database)


async def _nothing_to_do(database: Database) -> None:
    """3 -> 4: uploads may be resumable. None is yet; a release that knows of none must not run."""


STEPS: Mapping[int, Step] = {
    1: _announce_what_is_there,
    2: _mark_what_counts,
    3: _nothing_to_do,
}
"""version -> what brings a database of that version to the next one; each may run twice."""


async def _read_or_found(database: Database, version: int) -> int:
    """The version in the database; a database without one is empty, and gets `version`.

    Read with concern `local`, so that what another replica is just writing is seen too.
    """
    meta = database["meta"].with_options(read_concern=ReadConcern("local"))
    for _ in range(TRIES):
        schema = await meta.find_one({"_id": "schema"})
        if schema is not None:
            return int(schema["version"])
        with suppress(DuplicateKeyError):  # another replica's, which shows in a moment
            await meta.insert_one({"_id": "schema", "version": version})
            return version
        await asyncio.sleep(PAUSE_S)
    raise StoreUnavailable("the schema's version cannot be settled")


async def prepare(database: Database, *, version: int = SCHEMA_VERSION) -> None:
    """Check the version, then make missing collections and indexes. Raises SchemaMismatch."""
    found = await _read_or_found(database, version)
    if found > version:
        raise _too_new(found, version)
    if found < version:
        raise SchemaMismatch(
            f"the database has schema {found}, this release needs {version}: "
            "run `mediagate migrate`",
            found=found,
            needed=version,
        )
    await ensure_indexes(database)


async def migrate(
    database: Database, *, version: int = SCHEMA_VERSION, steps: Mapping[int, Step] = STEPS
) -> int:
    """Run the steps that are missing, one by one, each noted once it is done."""
    found = await _read_or_found(database, version)
    if found > version:
        raise _too_new(found, version)
    for at in range(found, version):
        await steps[at](database)
        await database["meta"].update_one({"_id": "schema"}, {"$set": {"version": at + 1}})
    await ensure_indexes(database)
    return version


async def refuse_unfinished(database: Database) -> None:
    """Raises SchemaMismatch."""
    for mark, told in UNFINISHED.items():
        if await database["meta"].find_one({"_id": mark}) is not None:
            raise SchemaMismatch(told)


def _too_new(found: int, known: int) -> SchemaMismatch:
    return SchemaMismatch(
        f"the database has schema {found}, this release knows {known} only: run a newer release",
        found=found,
        needed=known,
    )
