"""Jobs: rows of `jobs`. `lease_ms` and `owner` are there only while one is running."""

from __future__ import annotations

from service.model.ids import BucketId, JobId, TenantId
from service.model.job import Job, JobState
from service.stores.sqlite.clock import in_future, maybe_moment, moment, now_ms, past
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.statements import change, insert, one

RUNNING = JobState.RUNNING.value
_BY_ID = "SELECT * FROM jobs WHERE id = ?"
_DUE = "SELECT * FROM jobs WHERE lease_ms IS NOT NULL AND lease_ms <= ? ORDER BY lease_ms LIMIT 1"
_TAKE = "UPDATE jobs SET owner = ?, lease_ms = ? WHERE id = ?"
_NOTE = """
    UPDATE jobs SET cursor = ?, deleted = ?, failed = ?, lease_ms = ?
    WHERE id = ? AND owner = ? AND state = 'running'
"""
_END = "UPDATE jobs SET state = ?, finished_ms = ?, owner = NULL, lease_ms = NULL WHERE id = ?"
_FORGET = "DELETE FROM jobs WHERE finished_ms IS NOT NULL AND finished_ms <= ?"


class SqliteJobStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, id: JobId, tenant: TenantId, bucket: BucketId, prefix: str) -> Job:
        def work(db: Db) -> Job:
            at_ms = now_ms()
            values = {
                "id": id,
                "tenant": tenant,
                "bucket_id": bucket,
                "prefix": prefix,
                "state": RUNNING,
                "cursor": "",
                "deleted": 0,
                "failed": 0,
                "created_ms": at_ms,
                "owner": "",
                "lease_ms": at_ms,
            }
            insert(db, "jobs", values)
            return Job(id, tenant, bucket, prefix, moment(at_ms))

        return await self._engine.write(work)

    async def get(self, tenant: TenantId, bucket: BucketId, job: JobId) -> Job | None:
        def work(db: Db) -> Job | None:
            found = _find(db, tenant, bucket, job)
            return job_out(found) if found is not None else None

        return await self._engine.read(work)

    async def take(self, owner: str, lease_s: float) -> Job | None:
        def due(db: Db) -> Row | None:
            return one(db, _DUE, now_ms())

        def work(db: Db) -> Job | None:
            found = due(db)
            if found is None:
                return None
            change(db, _TAKE, owner, in_future(lease_s), found["id"])
            return job_out(found)

        # Most of the time there is none, and a look costs no turn of the writer.
        if await self._engine.read(due) is None:
            return None
        return await self._engine.write(work)

    async def advance(self, job: Job, owner: str, lease_s: float) -> bool:
        return await self._engine.write(lambda db: _note(db, job, owner, lease_s))

    async def finish(self, job: Job, owner: str, state: JobState) -> bool:
        def work(db: Db) -> bool:
            mine = _note(db, job, owner, 0)
            if mine:
                change(db, _END, state.value, now_ms(), job.id)
            return mine

        return await self._engine.write(work)

    async def cancel(self, tenant: TenantId, bucket: BucketId, job: JobId) -> None:
        def work(db: Db) -> None:
            found = _find(db, tenant, bucket, job)
            if found is not None and found["state"] == RUNNING:
                change(db, _END, JobState.CANCELLED.value, now_ms(), job)

        await self._engine.write(work)

    async def forget_finished(self, *, older_than_s: float) -> int:
        before = past(older_than_s)
        return await self._engine.write(lambda db: change(db, _FORGET, before))


def _find(db: Db, tenant: TenantId, bucket: BucketId, job: JobId) -> Row | None:
    found = one(db, _BY_ID, job)
    if found is None or (found["tenant"], found["bucket_id"]) != (tenant, bucket):
        return None
    return found


def _note(db: Db, job: Job, owner: str, lease_s: float) -> bool:
    counts = (job.cursor, job.deleted, job.failed)
    return bool(change(db, _NOTE, *counts, in_future(lease_s), job.id, owner))


def job_out(row: Row) -> Job:
    return Job(
        id=row["id"],
        tenant=row["tenant"],
        bucket_id=row["bucket_id"],
        prefix=row["prefix"],
        created_at=moment(row["created_ms"]),
        state=JobState(row["state"]),
        cursor=row["cursor"],
        deleted=row["deleted"],
        failed=row["failed"],
        finished_at=maybe_moment(row["finished_ms"]),
    )
