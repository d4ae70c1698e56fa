"""The deletion of a prefix on stores in memory."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import MediagateError, StoreRefused, StoreUnavailable
from service.model.ids import DEFAULT_TENANT
from service.model.job import Job, JobState
from service.usecases import delete_prefix
from service.usecases.delete_prefix import begin_deletion, run_deletion
from service.usecases.runtime import Runtime
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put

LEASE_S = 30


async def begun(runtime: Runtime, prefix: str = "a/") -> Job:
    return await begin_deletion(runtime, DEFAULT_TENANT, "films", prefix)


async def run(runtime: Runtime, owner: str = "me") -> None:
    job = await runtime.metadata.jobs.take(owner, LEASE_S)
    assert job is not None
    await run_deletion(runtime, job, owner, LEASE_S)


async def told(runtime: Runtime, job: Job) -> tuple[JobState, int, int]:
    found = await runtime.metadata.jobs.get(job.tenant, job.bucket_id, job.id)
    assert found is not None
    return found.state, found.deleted, found.failed


def left(metadata: FakeMetadata) -> list[str]:
    return sorted(v.key for v in metadata.versions.versions.values() if v.latest)


async def test_what_was_there_goes_and_what_comes_meanwhile_stays(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        await put(b"x", f"a/{number:03}")
    for key in ("a", "a0", "b/1"):
        await put(b"x", key)
    metadata.clock.advance(1)
    job = await begun(runtime)
    metadata.clock.advance(1)
    await put(b"new", "a/000")
    whole, seen = metadata.versions.delete, 0

    async def overtaken(tenant: Any, bucket: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 120:
            await put(b"new", key)
        return await whole(tenant, bucket, key, *args, **kwargs)

    monkeypatch.setattr(metadata.versions, "delete", overtaken)
    await run(runtime)
    assert await told(runtime, job) == (JobState.DONE, 248, 0)
    kept = left(metadata)
    assert set(kept) >= {"a", "a/000", "a0", "b/1"}
    assert len(kept) == 5


async def test_it_goes_on_where_it_was_left(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        await put(b"x", f"a/{number:03}")
    job = await begun(runtime)
    whole, calls = metadata.versions.delete, 0

    async def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 150:
            raise RuntimeError("the process is gone")
        return await whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(metadata.versions, "delete", dying)
        with pytest.raises(RuntimeError):
            await run(runtime)
    assert await told(runtime, job) == (JobState.RUNNING, 100, 0)
    assert await metadata.jobs.take("other", LEASE_S) is None
    metadata.clock.advance(LEASE_S + 1)
    await run(runtime, "other")
    state, deleted, failed = await told(runtime, job)
    assert (state, failed) == (JobState.DONE, 0)
    assert 200 <= deleted <= 250
    assert left(metadata) == []


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(StoreUnavailable(), (JobState.DONE, 3, 0)), (StoreRefused(), (JobState.DONE, 2, 1))],
    ids=["silent", "refused"],
)
async def test_a_silent_store_is_waited_for_and_what_fails_is_counted(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    error: MediagateError,
    outcome: tuple[JobState, int, int],
) -> None:
    for key in ("a/1", "a/2", "a/3"):
        await put(b"x", key)
    job = await begun(runtime)
    whole, failures = metadata.versions.delete, 0

    async def failing(tenant: Any, bucket: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        if key == "a/2" and failures < 2:
            failures += 1
            raise error
        return await whole(tenant, bucket, key, *args, **kwargs)

    monkeypatch.setattr(metadata.versions, "delete", failing)
    monkeypatch.setattr(delete_prefix, "_PAUSE_S", 0)
    await run(runtime)
    assert await told(runtime, job) == outcome


async def test_one_that_is_cancelled_stops(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    for number in range(201):
        await put(b"x", f"a/{number:03}")
    job = await begun(runtime)
    taken = await metadata.jobs.take("me", LEASE_S)
    assert taken is not None
    await metadata.jobs.cancel(job.tenant, job.bucket_id, job.id)
    await run_deletion(runtime, taken, "me", LEASE_S)
    assert len(left(metadata)) == 101
    assert (await told(runtime, job))[0] is JobState.CANCELLED
