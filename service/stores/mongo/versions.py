"""The version index: what a key names now, and what it named until lately.

Documents of `versions`: kind `object` (a version) or `tombstone` (what a delete leaves, so that
the order of a key's changes is not lost). `latest: true` marks the one current entry of a key,
under a unique index. An entry that an overwrite or a delete ended is `latest: false` with
`dead_since`; the sweeper deletes its blob after the grace and then forgets it.
"""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, ReturnDocument

from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.version import Version
from service.protocol.prefixes import successor
from service.stores.mongo.clock import NOW, read_past
from service.stores.mongo.documents import last_seq_out, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_in
from service.stores.mongo.latest_reads import LatestReads, latest_of
from service.stores.mongo.search import MongoReader
from service.stores.mongo.transactions import Transactions
from service.stores.search_plan import run

OBJECT, TOMBSTONE = "object", "tombstone"


class MongoVersionIndex:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._database = database
        self._versions = database["versions"]
        self._events = database["events"]
        self._guard = guard
        self._transactions = transactions
        self.latest = LatestReads(self._versions, guard)

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None:
        found = await self.latest.get(tenant, bucket, key)
        return version_out(found) if found and found["kind"] == OBJECT else None

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        with self._guard.reading():
            found = await self._versions.find_one(
                {
                    "_id": version,
                    "tenant": tenant,
                    "bucket_id": bucket,
                    "key": key,
                    "kind": OBJECT,
                }
            )
        return version_out(found) if found and "dead_since" not in found else None

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        with self._guard.reading():
            found = await self._versions.find_one(
                latest_of(tenant, bucket, key), {"seq": True, "changed_seq": True}
            )
        return last_seq_out(found) if found else 0

    async def scan(
        self,
        tenant: TenantId,
        bucket: BucketId,
        *,
        prefix: str,
        start: str,
        inclusive: bool,
        limit: int,
    ) -> list[Version]:
        bounds: dict[str, Any] = {"$gte": prefix}
        if start >= prefix:
            bounds = {"$gte" if inclusive else "$gt": start}
        end = successor(prefix)
        if end is not None:
            bounds["$lt"] = end
        page = {
            "tenant": tenant,
            "bucket_id": bucket,
            "kind": OBJECT,
            "latest": True,
            "key": bounds,
        }
        with self._guard.reading():
            cursor = self._versions.find(
                page, {"search": False}, sort=[("key", ASCENDING)], limit=limit
            )
            found = await cursor.to_list(limit)
        return [version_out(document) for document in found]

    async def search(
        self,
        tenant: TenantId,
        bucket: BucketId,
        wanted: Wanted,
        sort: Sort,
        *,
        after: Position | None,
        limit: int,
        max_examined: int,
    ) -> Found:
        reader = MongoReader(self._versions, self._guard, tenant, bucket, wanted, sort)
        return await run(reader, wanted, sort, after=after, limit=limit, max_examined=max_examined)

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Version | None:
        change_id = new_id()

        async def work(session: Session) -> Version | None:
            found = await self._versions.find_one(latest_of(tenant, bucket, key), session=session)
            current = version_out(found) if found and found["kind"] == OBJECT else None
            preconditions.check_write(current)
            if current is not None:
                await self._bury(current, change_id, session)
            return current

        async def landed() -> Version | None:
            with self._guard.reading():
                event = await self._events.find_one({"_id": change_id})
            return version_out(event["version"]) if event else None

        return await self._transactions.run(work, landed, deadline_s=deadline_s)

    async def _bury(self, current: Version, change_id: str, session: Session) -> None:
        """End the current version, leave a tombstone in its place, append the event."""
        dead: Document = await self._versions.find_one_and_update(
            {"_id": current.id, "latest": True},
            [{"$set": {"latest": False, "dead_since": NOW}}],
            projection={"dead_since": True},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        now = dead["dead_since"]
        change: Document = {
            "_id": change_id,
            "tenant": current.tenant,
            "bucket_id": current.bucket_id,
            "key": current.key,
            "seq": max(current.last_seq + 1, round(now.timestamp() * 1000)),
        }
        tombstone = {"kind": TOMBSTONE, "latest": True, "dead_since": now}
        await self._versions.insert_one(change | tombstone, session=session)
        event = Event(EventId(change_id), EventType.OBJECT_DELETED, change["seq"], now, current)
        await self._events.insert_one(event_in(event), session=session)

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        content = {"tenant": tenant, "bucket_id": bucket, "kind": OBJECT, "latest": True}
        with self._guard.reading():
            return await self._versions.find_one(content, {"_id": True}) is not None

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        with self._guard.reading():
            before = await read_past(self._database, older_than_s)
            cursor = self._versions.find(
                {"kind": OBJECT, "latest": False, "dead_since": {"$lte": before}},
                sort=[("dead_since", ASCENDING)],
                limit=limit,
            )
            found = await cursor.to_list(limit)
        return [version_out(document) for document in found]

    async def forget_dead(self, version: VersionId) -> None:
        with self._guard.writing():
            await self._versions.delete_one({"_id": version, "kind": OBJECT, "latest": False})

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        with self._guard.writing():
            before = await read_past(self._database, older_than_s)
            cursor = self._versions.find(
                {"kind": TOMBSTONE, "dead_since": {"$lte": before}},
                {"_id": True},
                sort=[("dead_since", ASCENDING)],
                limit=limit,
            )
            ids = [document["_id"] for document in await cursor.to_list(limit)]
            if not ids:
                return 0
            forgotten = await self._versions.delete_many({"_id": {"$in": ids}, "kind": TOMBSTONE})
        return forgotten.deleted_count
