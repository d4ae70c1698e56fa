"""The port of jobs; `stores/ports.py` names it too, and says what holds for all."""

from __future__ import annotations

from typing import Protocol

from service.model.ids import BucketId, JobId, TenantId
from service.model.job import Job, JobState


class JobStore(Protocol):
    """One owner at a time works at a job, for as long as its lease lasts."""

    async def create(self, id: JobId, tenant: TenantId, bucket: BucketId, prefix: str) -> Job:
        """A running job that nobody works at yet."""

    async def get(self, tenant: TenantId, bucket: BucketId, job: JobId) -> Job | None: ...

    async def take(self, owner: str, lease_s: float) -> Job | None:
        """A running job that nobody works at, or whose owner's lease ran out; None for none.

        owner: new for each call.
        """

    async def advance(self, job: Job, owner: str, lease_s: float) -> bool:
        """Note cursor and counts, and extend the lease; False where the job is not this owner's
        any more."""

    async def finish(self, job: Job, owner: str, state: JobState) -> bool:
        """The same for the last time."""

    async def cancel(self, tenant: TenantId, bucket: BucketId, job: JobId) -> None:
        """Idempotent; nothing happens to a job that has ended."""

    async def forget_finished(self, *, older_than_s: float) -> int: ...
