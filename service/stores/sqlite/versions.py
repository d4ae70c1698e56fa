"""Committed names and facts over SQLite."""

from __future__ import annotations

from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.upload import MovedFrom
from service.model.version import Entry, HandedOver, Version
from service.protocol.prefixes import successor
from service.stores.search_plan import run
from service.stores.sqlite.clock import past
from service.stores.sqlite.deletions import Deletion
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import current_of, current_version
from service.stores.sqlite.handover import HandOver
from service.stores.sqlite.metadata_changes import MetadataChange
from service.stores.sqlite.rows import entry_out, last_seq_out, version_out
from service.stores.sqlite.search import SqliteReader
from service.stores.sqlite.statements import change, many, one
from service.stores.version_port import FactsChange

_COUNTING = """
    SELECT * FROM versions
    WHERE id = ? AND tenant = ? AND bucket_id = ? AND key = ? AND kind = 'object' AND live = 1
"""
_LISTING = """
    SELECT * FROM versions
    WHERE bucket_id = ? AND latest = 1 AND kind = 'object' AND tenant = ?
      AND key {start} ? AND (? IS NULL OR key < ?)
    ORDER BY key LIMIT ?
"""
_PAGE = {True: _LISTING.format(start=">="), False: _LISTING.format(start=">")}
_HISTORY = """
    SELECT * FROM versions
    WHERE bucket_id = ? AND key = ? AND live = 1 AND tenant = ? AND seq < ?
    ORDER BY seq DESC LIMIT ?
"""
_ANY_SEQ = 2**63 - 1
_CONTENT = "SELECT 1 FROM versions WHERE bucket_id = ? AND live = 1 AND tenant = ? LIMIT 1"
_DEAD = """
    SELECT * FROM versions
    WHERE dead_ms IS NOT NULL AND kind = 'object' AND dead_ms <= ? ORDER BY dead_ms LIMIT ?
"""
_FORGET_DEAD = "DELETE FROM versions WHERE id = ? AND kind = 'object' AND live = 0"
_FORGET_TOMBSTONES = """
    DELETE FROM versions WHERE no IN (
        SELECT no FROM versions
        WHERE kind = 'tombstone' AND dead_ms <= ? ORDER BY dead_ms LIMIT ?
    )
"""


class SqliteVersionIndex:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None:
        def work(db: Db) -> Version | None:
            return current_version(current_of(db, tenant, bucket, key))

        return await self._engine.read(work)

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        def work(db: Db) -> Version | None:
            found = one(db, _COUNTING, version, tenant, bucket, key)
            return version_out(found) if found is not None else None

        return await self._engine.read(work)

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        def work(db: Db) -> int:
            found = current_of(db, tenant, bucket, key)
            return last_seq_out(found) if found is not None else 0

        return await self._engine.read(work)

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
        begin, included = (start, inclusive) if start >= prefix else (prefix, True)
        end = successor(prefix)

        def work(db: Db) -> list[Version]:
            found = many(db, _PAGE[included], bucket, tenant, begin, end, end, limit)
            return [version_out(row) for row in found]

        return await self._engine.read(work)

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
        reader = SqliteReader(self._engine, tenant, bucket, wanted, sort)
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
        before = _ANY_SEQ if before_seq is None else before_seq

        def work(db: Db) -> list[Entry]:
            found = many(db, _HISTORY, bucket, key, tenant, before, limit)
            return [entry_out(row) for row in found]

        return await self._engine.read(work)

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        deletion = Deletion(tenant, bucket, key, preconditions)
        return await self._engine.write(deletion.run, deadline_s=deadline_s)

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
        deletion = Deletion(tenant, bucket, key, preconditions, version)
        return await self._engine.write(deletion.run, deadline_s=deadline_s)

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
        move = HandOver(tenant, source, bucket, key, new_version, preconditions)
        return await self._engine.write(move.run, deadline_s=deadline_s)

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
        changing = MetadataChange(tenant, bucket, key, preconditions, change)
        return await self._engine.write(changing.run, deadline_s=deadline_s)

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        return await self._engine.read(lambda db: one(db, _CONTENT, bucket, tenant) is not None)

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        def work(db: Db) -> list[Version]:
            return [version_out(row) for row in many(db, _DEAD, past(older_than_s), limit)]

        return await self._engine.read(work)

    async def forget_dead(self, version: VersionId) -> None:
        await self._engine.write(lambda db: change(db, _FORGET_DEAD, version))

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        before = past(older_than_s)
        return await self._engine.write(lambda db: change(db, _FORGET_TOMBSTONES, before, limit))
