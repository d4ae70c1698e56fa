"""The schema's version in the database, and the steps from one to the next.

`meta` holds {_id: "schema", version}. Only `migrate` changes the version of a database that has
data; a service of another release refuses to start rather than guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from service.errors import SchemaMismatch, StoreUnavailable
from service.stores.mongo.driver import Database
from service.stores.mongo.indexes import ensure_indexes

SCHEMA_VERSION = 1
TRIES, PAUSE_S = 50, 0.02

Step = Callable[[Database], Awaitable[None]]
STEPS: Mapping[int, Step] = {}
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


def _too_new(found: int, known: int) -> SchemaMismatch:
    return SchemaMismatch(
        f"the database has schema {found}, this release knows {known} only: run a newer release",
        found=found,
        needed=known,
    )
