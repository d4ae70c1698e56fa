"""Buckets: a name is unique within its tenant; everything else points to the bucket's id.

What is made, changed or removed is announced in the same transaction; the event's `seq` is the
bucket's revision, one more for its removal. A deletion under way is no event: where it never ends,
the bucket is there still.
"""

from __future__ import annotations

import builtins
from dataclasses import replace

from service.errors import BucketExists, BucketNotFound, PreconditionFailed
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, new_id
from service.stores.sqlite.bucket_rows import BY_ID, bucket_of, require_active
from service.stores.sqlite.clock import moment, now_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import announce
from service.stores.sqlite.rows import bucket_in, bucket_out, settings_in
from service.stores.sqlite.statements import change, insert, many, one

_BY_NAME = "SELECT * FROM buckets WHERE tenant = ? AND name = ?"
_LIST = "SELECT * FROM buckets WHERE tenant = ? AND name > ? ORDER BY name LIMIT ?"
_SETTINGS = "UPDATE buckets SET settings = ?, revision = ?, has_kept = ? WHERE id = ?"
_DELETING = "UPDATE buckets SET state = 'deleting', deletion = ? WHERE id = ?"
_REVERT = """
    UPDATE buckets SET state = 'active', deletion = NULL
    WHERE id = ? AND tenant = ? AND deletion = ?
"""


class SqliteBucketStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        id = BucketId(new_id())

        def work(db: Db) -> Bucket:
            if one(db, _BY_NAME, tenant, name) is not None:
                raise BucketExists
            now, kept = moment(now_ms()), settings.versioning
            bucket = Bucket(id, tenant, name, BucketState.ACTIVE, now, 1, settings, kept)
            insert(db, "buckets", bucket_in(bucket))
            _tell(db, EventType.BUCKET_CREATED, 1, bucket)
            return bucket

        return await self._engine.write(work)

    async def get(self, tenant: TenantId, name: str) -> Bucket | None:
        def work(db: Db) -> Bucket | None:
            found = one(db, _BY_NAME, tenant, name)
            return bucket_out(found) if found is not None else None

        return await self._engine.read(work)

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> builtins.list[Bucket]:
        def work(db: Db) -> builtins.list[Bucket]:
            return [bucket_out(row) for row in many(db, _LIST, tenant, after, limit)]

        return await self._engine.read(work)

    async def update(
        self, tenant: TenantId, bucket: BucketId, settings: BucketSettings, *, revision: int
    ) -> Bucket:
        def work(db: Db) -> Bucket:
            found = bucket_of(db, tenant, bucket)
            require_active(found)
            if found.revision != revision:
                raise PreconditionFailed("the bucket was changed in between", condition="if-match")
            changed = replace(
                found,
                settings=settings,
                revision=revision + 1,
                has_kept=found.has_kept or settings.versioning,
            )
            stored = (settings_in(settings), changed.revision, int(changed.has_kept))
            change(db, _SETTINGS, *stored, bucket)
            _tell(db, EventType.BUCKET_UPDATED, changed.revision, changed)
            return changed

        return await self._engine.write(work)

    async def begin_delete(self, tenant: TenantId, bucket: BucketId) -> str:
        nonce = new_id()

        def work(db: Db) -> str:
            found = one(db, BY_ID, bucket, tenant)
            if found is None:
                raise BucketNotFound
            under_way = found["deletion"]
            if under_way is not None:
                return str(under_way)
            change(db, _DELETING, nonce, bucket)
            return nonce

        return await self._engine.write(work)

    async def revert_delete(self, tenant: TenantId, bucket: BucketId, nonce: str) -> None:
        await self._engine.write(lambda db: change(db, _REVERT, bucket, tenant, nonce))

    async def remove(self, tenant: TenantId, bucket: BucketId, nonce: str) -> bool:
        def work(db: Db) -> bool:
            found = one(db, BY_ID, bucket, tenant)
            if found is None or found["deletion"] != nonce:
                return False
            removed = replace(bucket_out(found), state=BucketState.ACTIVE)
            change(db, "DELETE FROM buckets WHERE id = ?", bucket)
            change(db, "DELETE FROM bucket_numbers WHERE bucket_id = ?", bucket)
            _tell(db, EventType.BUCKET_DELETED, removed.revision + 1, removed)
            return True

        return await self._engine.write(work)


def _tell(db: Db, kind: EventType, seq: int, bucket: Bucket) -> None:
    at = bucket.created_at if kind is EventType.BUCKET_CREATED else moment(now_ms())
    announce(db, Event(EventId(new_id()), kind, seq, at, bucket))
