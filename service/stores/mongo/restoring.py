"""Filling an empty database from the journal, with a mark in `meta` as long as it is not whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo.errors import BulkWriteError

from service.errors import Conflict
from service.model.api_key import ApiKey
from service.model.bucket import Bucket
from service.model.event import Event
from service.model.version import DeleteMarker
from service.stores.mongo.documents import (
    TOMBSTONE,
    api_key_in,
    bucket_in,
    marker_in,
    version_in,
)
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.errors import Guard
from service.stores.mongo.outbox import JOURNAL

MARK = {"_id": "rebuild"}
RESTORED = ("versions", "buckets", "api_keys", "publishers")
"""What a rebuild fills, and drops again when it begins anew."""
ENDED = datetime(2000, 1, 1, tzinfo=UTC)
MUST_BE_EMPTY = (*RESTORED, "uploads", "events")


class MongoRestoring:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._guard = guard

    async def begin(self) -> None:
        with self._guard.writing():
            if await self._database["meta"].find_one(MARK) is None:
                await self._refuse_content()
                await self._database["meta"].replace_one(MARK, MARK, upsert=True)
            for name in RESTORED:
                await self._database[name].delete_many({})

    async def _refuse_content(self) -> None:
        for name in MUST_BE_EMPTY:
            if await self._database[name].find_one({}, {"_id": True}) is not None:
                raise Conflict(f"the database is not empty: there is something in {name!r}")

    async def add(self, events: Sequence[Event]) -> None:
        documents: dict[str, list[Document]] = {}
        for event in events:
            for collection, document in _restored(event):
                documents.setdefault(collection, []).append(document)
        with self._guard.writing():
            for collection, found in documents.items():
                try:
                    await self._database[collection].insert_many(found, ordered=False)
                except BulkWriteError as exc:
                    raise Conflict(f"{collection!r} is being written to by somebody else") from exc

    async def finish(self, *, epoch: int, position: int) -> None:
        with self._guard.writing():
            await self._database["publishers"].insert_one(
                {"_id": JOURNAL, "epoch": epoch, "position": position, "lease_until": ENDED}
            )
            await self._database["meta"].delete_one(MARK)


def _restored(event: Event) -> list[tuple[str, Document]]:
    match event.of:
        case Bucket():
            return [] if event.removes else [("buckets", bucket_in(event.of))]
        case ApiKey():
            return [("api_keys", api_key_in(event.of))]
    if not event.removes:
        if isinstance(event.of, DeleteMarker):
            return [("versions", marker_in(event.of))]
        return [("versions", version_in(event.of))]
    tombstone = {
        "_id": event.id,
        "tenant": event.of.tenant,
        "bucket_id": event.of.bucket_id,
        "key": event.of.key,
        "seq": event.seq,
        "kind": TOMBSTONE,
        "latest": True,
        "dead_since": event.at,
    }
    return [("versions", tombstone)]
