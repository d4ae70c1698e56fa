"""A job: work that outlives the request that asked for it, and the process that does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.ids import BucketId, JobId, TenantId


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """The deletion of what had a prefix when the job was made.

    cursor: the last key that was dealt with, "" for none. deleted, failed: how many objects so far.
    """

    id: JobId
    tenant: TenantId
    bucket_id: BucketId
    prefix: str
    created_at: datetime
    state: JobState = JobState.RUNNING
    cursor: str = ""
    deleted: int = 0
    failed: int = 0
    finished_at: datetime | None = None
