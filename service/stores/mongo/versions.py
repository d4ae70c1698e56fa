"""The version index: what a key names now, and what it named until lately.

Documents of `versions`: kind `object` (a version), `marker` (a delete marker) or `tombstone` (what
a delete leaves where nothing else is, so that the order of a key's changes is not lost).
`latest: true` marks the one current entry of a key, under a unique index. `live: true` marks the
objects and markers that count: the current one, and those that are kept behind it. What an
overwrite or a delete ended has `dead_since` instead; the sweeper deletes its blob after the grace
and then forgets it.
"""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, DESCENDING

from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.upload import MovedFrom
from service.model.version import Entry, HandedOver, Version
from service.protocol.prefixes import successor
from service.stores.mongo.clock import read_past
from service.stores.mongo.deletions import Deletion
from service.stores.mongo.documents import (
    OBJECT,
    TOMBSTONE,
    entry_out,
    last_seq_out,
    version_out,
)
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.errors import Guard
from service.stores.mongo.handover import HandOver
from service.stores.mongo.latest_reads import LatestReads, latest_of
from service.stores.mongo.metadata_changes import MetadataChange
from service.stores.mongo.search import MongoReader
from service.stores.mongo.transactions import Transactions
from service.stores.search_plan import run
from service.stores.version_port import FactsChange


class MongoVersionIndex:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._database = database
        self._versions = database["versions"]
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

    async def history(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        *,
        before_seq: int | None,
        limit: int,
    ) -> list[Entry]:
        wanted: Document = {"tenant": tenant, "bucket_id": bucket, "key": key, "live": True}
        if before_seq is not None:
            wanted["seq"] = {"$lt": before_seq}
        with self._guard.reading():
            cursor = self._versions.find(wanted, sort=[("seq", DESCENDING)], limit=limit)
            return [entry_out(document) for document in await cursor.to_list(limit)]

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        deletion = Deletion(self._database, tenant, bucket, key, preconditions)
        return await self._run(deletion, deadline_s)

    async def delete_version(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        deletion = Deletion(self._database, tenant, bucket, key, preconditions, version)
        return await self._run(deletion, deadline_s)

    async def hand_over(
        self,
        tenant: TenantId,
        source: MovedFrom,
        bucket: BucketId,
        key: str,
        new_version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> HandedOver | None:
        move = HandOver(self._database, tenant, source, bucket, key, new_version, preconditions)

        async def landed() -> HandedOver | None:
            with self._guard.reading():
                return await move.landed()

        return await self._transactions.run(move.run, landed, deadline_s=deadline_s)

    async def _run(self, deletion: Deletion, deadline_s: float) -> Entry | None:
        async def landed() -> Entry | None:
            with self._guard.reading():
                return await deletion.landed()

        return await self._transactions.run(deletion.run, landed, deadline_s=deadline_s)

    async def change_facts(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        change: FactsChange,
        *,
        deadline_s: float,
    ) -> Version | None:
        changing = MetadataChange(self._database, tenant, bucket, key, preconditions, change)

        async def landed() -> Version | None:
            with self._guard.reading():
                return await changing.landed()

        return await self._transactions.run(changing.run, landed, deadline_s=deadline_s)

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        content = {"tenant": tenant, "bucket_id": bucket, "live": True}
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
            await self._versions.delete_one(
                {"_id": version, "kind": OBJECT, "latest": False, "live": None}
            )

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
