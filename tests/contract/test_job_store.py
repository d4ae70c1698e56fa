"""Jobs: what every engine promises (service/stores/job_port.py)."""

from __future__ import annotations

from dataclasses import replace

from metadata_engines import OTHER_TENANT, World

from service.model.ids import BucketId, JobId, new_id
from service.model.job import Job, JobState


async def made(world: World, prefix: str = "$a/") -> Job:
    job = await world.store.jobs.create(JobId(new_id()), *world.place, prefix)
    await world.pass_time(0.005)
    return job


async def found(world: World, job: Job) -> Job | None:
    return await world.store.jobs.get(*world.place, job.id)


async def test_a_job_is_found_in_its_bucket_only(world: World):
    job = await made(world)
    assert (job.state, job.prefix, job.cursor, job.deleted) == (JobState.RUNNING, "$a/", "", 0)
    assert await found(world, job) == job
    jobs, tenant = world.store.jobs, world.place[0]
    assert await jobs.get(OTHER_TENANT, world.bucket.id, job.id) is None
    assert await jobs.get(tenant, BucketId(new_id()), job.id) is None


async def test_one_owner_at_a_time_goes_on_where_the_last_one_was(world: World):
    jobs, job = world.store.jobs, await made(world)
    assert await jobs.take("a", 60) == job
    assert await jobs.take("b", 60) is None
    further = replace(job, cursor="$a/x", deleted=3, failed=1)
    assert await jobs.advance(further, "a", 0.01)
    await world.pass_time(0.02)
    assert await jobs.take("b", 60) == further
    assert not await jobs.advance(replace(further, deleted=9), "a", 60)
    assert not await jobs.finish(replace(further, deleted=9), "a", JobState.DONE)
    assert await found(world, job) == further


async def test_a_job_that_ended_is_taken_by_nobody_and_forgotten_later(world: World):
    jobs, job = world.store.jobs, await made(world)
    await jobs.take("a", 0.001)
    assert await jobs.finish(replace(job, deleted=5), "a", JobState.DONE)
    await world.pass_time(0.02)
    ended = await found(world, job)
    assert ended is not None
    assert (ended.state, ended.deleted) == (JobState.DONE, 5)
    assert ended.finished_at is not None
    assert await jobs.take("b", 60) is None
    await jobs.cancel(*world.place, job.id)
    assert await found(world, job) == ended
    assert await jobs.forget_finished(older_than_s=60) == 0
    assert await jobs.forget_finished(older_than_s=0) == 1
    assert await found(world, job) is None


async def test_a_job_that_is_cancelled_is_no_owners_any_more(world: World):
    jobs, job = world.store.jobs, await made(world)
    await jobs.take("a", 60)
    await jobs.cancel(OTHER_TENANT, world.bucket.id, job.id)
    assert await found(world, job) == job
    await jobs.cancel(*world.place, job.id)
    assert not await jobs.advance(job, "a", 60)
    assert not await jobs.finish(job, "a", JobState.DONE)
    ended = await found(world, job)
    assert ended is not None
    assert ended.state is JobState.CANCELLED
