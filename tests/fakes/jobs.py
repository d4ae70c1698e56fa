"""Jobs in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.model.ids import BucketId, JobId, TenantId
from service.model.job import Job, JobState
from tests.fakes.clock import Clock


@dataclass
class _Held:
    job: Job
    owner: str
    lease_until: datetime


class FakeJobStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[JobId, _Held] = {}

    async def create(self, id: JobId, tenant: TenantId, bucket: BucketId, prefix: str) -> Job:
        job = Job(id, tenant, bucket, prefix, self._clock.now)
        self._jobs[id] = _Held(job, "", self._clock.now)
        return job

    async def get(self, tenant: TenantId, bucket: BucketId, job: JobId) -> Job | None:
        held = self._jobs.get(job)
        if held is None or (held.job.tenant, held.job.bucket_id) != (tenant, bucket):
            return None
        return held.job

    async def take(self, owner: str, lease_s: float) -> Job | None:
        for held in self._jobs.values():
            if held.job.state is JobState.RUNNING and held.lease_until <= self._clock.now:
                held.owner, held.lease_until = owner, self._until(lease_s)
                return held.job
        return None

    async def advance(self, job: Job, owner: str, lease_s: float) -> bool:
        held = self._mine(job, owner)
        if held is None:
            return False
        held.job, held.lease_until = job, self._until(lease_s)
        return True

    async def finish(self, job: Job, owner: str, state: JobState) -> bool:
        held = self._mine(job, owner)
        if held is None:
            return False
        held.job = replace(job, state=state, finished_at=self._clock.now)
        return True

    async def cancel(self, tenant: TenantId, bucket: BucketId, job: JobId) -> None:
        found = await self.get(tenant, bucket, job)
        if found is not None and found.state is JobState.RUNNING:
            self._jobs[job].job = replace(
                found, state=JobState.CANCELLED, finished_at=self._clock.now
            )

    async def forget_finished(self, *, older_than_s: float) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        old = [
            name
            for name, held in self._jobs.items()
            if held.job.finished_at is not None and held.job.finished_at <= before
        ]
        for name in old:
            del self._jobs[name]
        return len(old)

    def _mine(self, job: Job, owner: str) -> _Held | None:
        held = self._jobs.get(job.id)
        running = held is not None and held.job.state is JobState.RUNNING
        return held if running and held is not None and held.owner == owner else None

    def _until(self, lease_s: float) -> datetime:
        return self._clock.now + timedelta(seconds=lease_s)
