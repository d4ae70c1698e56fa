"""The database's clock: what it says now, and writes that take their times from it.

`$$NOW` sets times inside pipeline updates. For "has this time passed?" the clock is read first and
compared plainly: an older `now` makes fewer leases look expired, never more. Values in a pipeline
stand under `$literal`, since a user's string may begin with `$`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument

from service.stores.mongo.driver import CODEC, Collection, Database, Document, Session

NOW = "$$NOW"


def literal(value: Any) -> Document:
    return {"$literal": value}


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def in_future(seconds: float) -> Document:
    """An expression: the database's time in so many seconds."""
    return {"$add": [NOW, milliseconds(seconds)]}


async def read_clock(database: Database) -> datetime:
    reply = await database.client.admin.command("hello", codec_options=CODEC)
    now: datetime = reply["localTime"]
    return now


async def read_past(database: Database, seconds: float) -> datetime:
    """The database's time so many seconds ago."""
    return await read_clock(database) - timedelta(seconds=seconds)


async def insert_timed(
    collection: Collection, document: Document, times: Document, session: Session | None = None
) -> Document:
    """Insert a document with fields computed by the database; return it as it is stored.

    times: field -> expression. No document has a field `absent`, so this never updates one:
    an `_id` that is taken raises DuplicateKeyError like any unique index does.
    """
    stored: Document = await collection.find_one_and_update(
        {"_id": document["_id"], "absent": True},
        [{"$replaceWith": {"$mergeObjects": [literal(document), times]}}],
        upsert=True,
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    return stored
