"""Jobs: documents of `jobs`. `lease_until` and `owner` are there only while one is running."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, ReturnDocument

from service.model.ids import BucketId, JobId, TenantId
from service.model.job import Job, JobState
from service.stores.mongo.clock import NOW, in_future, insert_timed, literal, read_clock, read_past
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.errors import Guard

RUNNING = JobState.RUNNING.value


class MongoJobStore:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._jobs = database["jobs"]
        self._guard = guard

    async def create(self, id: JobId, tenant: TenantId, bucket: BucketId, prefix: str) -> Job:
        document = {
            "_id": id,
            "tenant": tenant,
            "bucket_id": bucket,
            "prefix": prefix,
            "state": RUNNING,
            "cursor": "",
            "deleted": 0,
            "failed": 0,
            "owner": "",
        }
        with self._guard.writing():
            times = {"created_at": NOW, "lease_until": NOW}
            return job_out(await insert_timed(self._jobs, document, times))

    async def get(self, tenant: TenantId, bucket: BucketId, job: JobId) -> Job | None:
        with self._guard.reading():
            wanted = {"_id": job, "tenant": tenant, "bucket_id": bucket}
            found = await self._jobs.find_one(wanted)
        return job_out(found) if found else None

    async def take(self, owner: str, lease_s: float) -> Job | None:
        with self._guard.writing():
            due = {"lease_until": {"$lte": await read_clock(self._database)}}
            waiting = await self._jobs.find(
                due, {"_id": True}, sort=[("lease_until", ASCENDING)], limit=10
            ).to_list(10)
            for each in waiting:
                taken = await self._jobs.find_one_and_update(
                    {"_id": each["_id"], "state": RUNNING} | due,
                    [{"$set": {"owner": literal(owner), "lease_until": in_future(lease_s)}}],
                    return_document=ReturnDocument.AFTER,
                )
                if taken is not None:
                    return job_out(taken)
        return None

    async def advance(self, job: Job, owner: str, lease_s: float) -> bool:
        return await self._note(job, owner, [{"$set": {"lease_until": in_future(lease_s)}}])

    async def finish(self, job: Job, owner: str, state: JobState) -> bool:
        return await self._note(job, owner, _ended(state))

    async def cancel(self, tenant: TenantId, bucket: BucketId, job: JobId) -> None:
        wanted = {"_id": job, "tenant": tenant, "bucket_id": bucket, "state": RUNNING}
        with self._guard.writing():
            await self._jobs.update_one(wanted, _ended(JobState.CANCELLED))

    async def forget_finished(self, *, older_than_s: float) -> int:
        with self._guard.writing():
            before = await read_past(self._database, older_than_s)
            forgotten = await self._jobs.delete_many({"finished_at": {"$lte": before}})
        return forgotten.deleted_count

    async def _note(self, job: Job, owner: str, change: list[Document]) -> bool:
        progress = {
            "cursor": literal(job.cursor),
            "deleted": job.deleted,
            "failed": job.failed,
        }
        mine = {"_id": job.id, "owner": owner, "state": RUNNING}
        with self._guard.writing():
            noted = await self._jobs.update_one(mine, [{"$set": progress}, *change])
        return bool(noted.matched_count)


def _ended(state: JobState) -> list[Document]:
    return [
        {"$set": {"state": state.value, "finished_at": NOW}},
        {"$unset": ["lease_until", "owner"]},
    ]


def job_out(document: dict[str, Any]) -> Job:
    return Job(
        id=document["_id"],
        tenant=document["tenant"],
        bucket_id=document["bucket_id"],
        prefix=document["prefix"],
        created_at=document["created_at"],
        state=JobState(document["state"]),
        cursor=document["cursor"],
        deleted=document["deleted"],
        failed=document["failed"],
        finished_at=document.get("finished_at"),
    )


def job_in(job: Job, owner: str | None, lease_until: datetime | None) -> Document:
    """The whole document."""
    document = asdict(job) | {"state": job.state.value, "owner": owner, "lease_until": lease_until}
    document["_id"] = document.pop("id")
    return {name: value for name, value in document.items() if value is not None}
