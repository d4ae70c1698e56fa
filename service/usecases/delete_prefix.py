"""Deletion of all that has a prefix, as a job that any replica goes on with.

Only what was there when the job was made is deleted: each version found is looked at, and deleted
only if the key still names that very one, so what is stored meanwhile stays. The cursor is noted
after each batch: a job that was left goes on behind it, and what it deleted of the next batch by
then is not counted. Two that work at one job by mistake do no harm, and only its owner notes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    JobNotFound,
    MediagateError,
    PreconditionFailed,
    StoreUnavailable,
)
from service.model.ids import BucketId, JobId, TenantId, new_id
from service.model.job import Job, JobState
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.version import Version
from service.usecases.runtime import Runtime

_BATCH, _AT_ONCE, _PAUSE_S = 100, 8, 1.0
log = structlog.get_logger()


async def begin_deletion(runtime: Runtime, tenant: TenantId, bucket: str, prefix: str) -> Job:
    """Note the job and wake the worker of this process. Raises BucketNotFound."""
    bucket_id = await _bucket_id(runtime, tenant, bucket)
    job = await runtime.metadata.jobs.create(JobId(new_id()), tenant, bucket_id, prefix)
    runtime.job_bell.set()
    return job


async def find_deletion(runtime: Runtime, tenant: TenantId, bucket: str, job: JobId) -> Job:
    """Raises BucketNotFound, JobNotFound."""
    bucket_id = await _bucket_id(runtime, tenant, bucket)
    found = await runtime.metadata.jobs.get(tenant, bucket_id, job)
    if found is None:
        raise JobNotFound(f"there is no job {job!r}; it is forgotten a day after its end")
    return found


async def _bucket_id(runtime: Runtime, tenant: TenantId, bucket: str) -> BucketId:
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    return found.id


async def run_deletion(runtime: Runtime, job: Job, owner: str, lease_s: float) -> None:
    """Work at a job that `owner` took, to its end or until it is somebody else's.

    Raises StoreUnavailable: whoever takes it next goes on.
    """
    jobs, versions = runtime.metadata.jobs, runtime.metadata.versions
    try:
        while True:
            page = await versions.scan(
                job.tenant,
                job.bucket_id,
                prefix=job.prefix,
                start=job.cursor,
                inclusive=not job.cursor,
                limit=_BATCH,
            )
            old = [version for version in page if version.created_at <= job.created_at]
            job = await _delete_batch(runtime, job, old, owner, lease_s)
            if len(page) < _BATCH:
                break
            job = replace(job, cursor=page[-1].key)
            if not await jobs.advance(job, owner, lease_s):
                return
        await jobs.finish(job, owner, JobState.DONE)
    except BucketNotFound as error:
        log.warning("deletion_failed", job=job.id, reason=error.code)
        await jobs.finish(job, owner, JobState.FAILED)


async def _delete_batch(
    runtime: Runtime, job: Job, versions: Sequence[Version], owner: str, lease_s: float
) -> Job:
    """Returns the job with its counts; what a store gives no answer for is tried again.

    Raises BucketNotFound.
    """
    while versions:
        gate = asyncio.Semaphore(_AT_ONCE)
        outcomes = await asyncio.gather(*(_delete(runtime, each, gate) for each in versions))
        if "no bucket" in outcomes:
            raise BucketNotFound
        job = replace(
            job,
            deleted=job.deleted + outcomes.count("deleted"),
            failed=job.failed + outcomes.count("failed"),
        )
        versions = [
            each
            for each, outcome in zip(versions, outcomes, strict=True)
            if outcome == "unanswered"
        ]
        if versions:
            await asyncio.sleep(_PAUSE_S)
            await runtime.metadata.jobs.advance(job, owner, lease_s)
    return job


async def _delete(runtime: Runtime, version: Version, gate: asyncio.Semaphore) -> str:
    this_one = Preconditions(if_match=EntityTags((EntityTag(version.etag),)))
    async with gate:
        try:
            await runtime.metadata.versions.delete(
                version.tenant,
                version.bucket_id,
                version.key,
                this_one,
                deadline_s=runtime.settings.metadata.commit_timeout_s,
            )
        except PreconditionFailed:
            return "not there any more"
        except StoreUnavailable:
            return "unanswered"
        except (BucketNotFound, BucketDeleting):
            return "no bucket"
        except MediagateError as error:
            log.warning("object_not_deleted", reason=error.code, detail=error.detail)
            return "failed"
    return "deleted"
