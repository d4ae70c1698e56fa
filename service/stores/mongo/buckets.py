"""Buckets: a name is unique within its tenant; everything else points to the bucket's id."""

from __future__ import annotations

import builtins

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from service.errors import (
    BucketDeleting,
    BucketExists,
    BucketNotFound,
    MediagateError,
    PreconditionFailed,
)
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.ids import BucketId, TenantId, new_id
from service.stores.mongo.clock import NOW, insert_timed
from service.stores.mongo.documents import bucket_out, settings_in
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.errors import Guard

ACTIVE, DELETING = BucketState.ACTIVE.value, BucketState.DELETING.value


class MongoBucketStore:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._buckets = database["buckets"]
        self._guard = guard

    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        document: Document = {
            "_id": new_id(),
            "tenant": tenant,
            "name": name,
            "state": ACTIVE,
            "revision": 1,
            "settings": settings_in(settings),
        }
        with self._guard.writing():
            try:
                made = await insert_timed(self._buckets, document, {"created_at": NOW})
            except DuplicateKeyError as exc:
                raise BucketExists from exc
        return bucket_out(made)

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
        with self._guard.writing():
            changed = await self._buckets.find_one_and_update(
                {"_id": bucket, "tenant": tenant, "state": ACTIVE, "revision": revision},
                {"$set": {"settings": settings_in(settings)}, "$inc": {"revision": 1}},
                return_document=ReturnDocument.AFTER,
            )
        if not changed:
            raise await self._refusal(tenant, bucket)
        return bucket_out(changed)

    async def _refusal(self, tenant: TenantId, bucket: BucketId) -> MediagateError:
        """Why a change of settings met nothing."""
        with self._guard.reading():
            found = await self._buckets.find_one({"_id": bucket, "tenant": tenant})
        if found is None:
            return BucketNotFound()
        if found["state"] == DELETING:
            return BucketDeleting()
        return PreconditionFailed("the bucket was changed in between", condition="if-match")

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
        with self._guard.writing():
            removed = await self._buckets.delete_one(
                {"_id": bucket, "tenant": tenant, "deletion": nonce}
            )
        return bool(removed.deleted_count)
