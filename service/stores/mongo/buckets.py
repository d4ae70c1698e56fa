"""Buckets: a name is unique within its tenant; everything else points to the bucket's id.

What is made, changed or removed is announced in the same transaction; the event's `seq` is the
bucket's revision, one more for its removal. A deletion under way is no event: where it never ends,
the bucket is there still.
"""

from __future__ import annotations

import builtins
from dataclasses import replace
from functools import partial

from pymongo import ASCENDING, ReturnDocument

from service.errors import (
    BucketDeleting,
    BucketExists,
    BucketNotFound,
    PreconditionFailed,
)
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, new_id
from service.stores.mongo.clock import NOW, insert_timed, literal
from service.stores.mongo.documents import bucket_out, settings_in
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_in
from service.stores.mongo.transactions import Transactions

ACTIVE, DELETING = BucketState.ACTIVE.value, BucketState.DELETING.value


class MongoBucketStore:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._buckets = database["buckets"]
        self._events = database["events"]
        self._guard = guard
        self._transactions = transactions

    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        document: Document = {
            "_id": new_id(),
            "tenant": tenant,
            "name": name,
            "state": ACTIVE,
            "revision": 1,
            "settings": settings_in(settings),
            "has_kept": settings.versioning,
        }
        change = EventId(new_id())

        async def work(session: Session) -> Bucket:
            taken = {"tenant": tenant, "name": name}
            if await self._buckets.find_one(taken, session=session) is not None:
                raise BucketExists
            times = {"created_at": NOW}
            made = bucket_out(await insert_timed(self._buckets, document, times, session=session))
            event = Event(change, EventType.BUCKET_CREATED, 1, made.created_at, made)
            await self._announce(event, session)
            return made

        return await self._transactions.run(
            work, partial(self._landed, change), deadline_s=self._guard.timeout_s
        )

    async def get(self, tenant: TenantId, name: str) -> Bucket | None:
        with self._guard.reading():
            found = await self._buckets.find_one({"tenant": tenant, "name": name})
        return bucket_out(found) if found else None

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> builtins.list[Bucket]:
        with self._guard.reading():
            cursor = self._buckets.find(
                {"tenant": tenant, "name": {"$gt": after}},
                sort=[("name", ASCENDING)],
                limit=limit,
            )
            return [bucket_out(document) for document in await cursor.to_list(limit)]

    async def update(
        self, tenant: TenantId, bucket: BucketId, settings: BucketSettings, *, revision: int
    ) -> Bucket:
        change = EventId(new_id())

        async def work(session: Session) -> Bucket:
            found = await self._buckets.find_one({"_id": bucket, "tenant": tenant}, session=session)
            _check(found, revision)
            changes: list[Document] = [
                {
                    "$set": {
                        "settings": literal(settings_in(settings)),
                        "revision": revision + 1,
                        "has_kept": {"$or": ["$has_kept", settings.versioning]},
                        "changed_at": NOW,
                    }
                }
            ]
            stored = await self._buckets.find_one_and_update(
                {"_id": bucket, "tenant": tenant, "state": ACTIVE, "revision": revision},
                changes,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            changed = bucket_out(stored)
            event = Event(
                change, EventType.BUCKET_UPDATED, changed.revision, stored["changed_at"], changed
            )
            await self._announce(event, session)
            return changed

        return await self._transactions.run(
            work, partial(self._landed, change), deadline_s=self._guard.timeout_s
        )

    async def begin_delete(self, tenant: TenantId, bucket: BucketId) -> str:
        # A pipeline, so that a deletion under way keeps its nonce.
        nonce = {"$ifNull": ["$deletion", new_id()]}
        with self._guard.writing():
            changed = await self._buckets.find_one_and_update(
                {"_id": bucket, "tenant": tenant},
                [{"$set": {"state": DELETING, "deletion": nonce}}],
                return_document=ReturnDocument.AFTER,
            )
        if not changed:
            raise BucketNotFound
        return str(changed["deletion"])

    async def revert_delete(self, tenant: TenantId, bucket: BucketId, nonce: str) -> None:
        with self._guard.writing():
            await self._buckets.update_one(
                {"_id": bucket, "tenant": tenant, "deletion": nonce},
                {"$set": {"state": ACTIVE}, "$unset": {"deletion": True}},
            )

    async def remove(self, tenant: TenantId, bucket: BucketId, nonce: str) -> bool:
        change = EventId(new_id())
        held = {"_id": bucket, "tenant": tenant, "deletion": nonce}

        async def work(session: Session) -> Bucket | None:
            # Written to before it is removed: that is how the database tells the time.
            stored: Document | None = await self._buckets.find_one_and_update(
                held,
                [{"$set": {"changed_at": NOW}}],
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            if stored is None:
                return None
            removed = replace(bucket_out(stored), state=BucketState.ACTIVE)
            await self._buckets.delete_one(held, session=session)
            seq = removed.revision + 1
            event = Event(change, EventType.BUCKET_DELETED, seq, stored["changed_at"], removed)
            await self._announce(event, session)
            return removed

        removed = await self._transactions.run(
            work, partial(self._landed, change), deadline_s=self._guard.timeout_s
        )
        return removed is not None

    async def _announce(self, event: Event, session: Session) -> None:
        await self._events.insert_one(event_in(event), session=session)

    async def _landed(self, change: EventId) -> Bucket | None:
        """The read-back of a change: its event has the bucket as it was made."""
        with self._guard.reading():
            event = await self._events.find_one({"_id": change})
        return bucket_out(event["bucket"]) if event else None


def _check(found: Document | None, revision: int) -> None:
    """Raise unless the settings of a bucket may be changed."""
    if found is None:
        raise BucketNotFound
    if found["state"] == DELETING:
        raise BucketDeleting
    if found["revision"] != revision:
        raise PreconditionFailed("the bucket was changed in between", condition="if-match")
