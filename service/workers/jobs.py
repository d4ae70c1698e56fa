"""Jobs are taken up by whichever replica looks first; the one that was asked is woken at once."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import suppress

import structlog

from service.errors import MediagateError
from service.usecases.delete_prefix import run_deletion
from service.usecases.runtime import Runtime

KEPT_S = 24 * 3600.0
"""How long a job that has ended can be asked for."""
_LONGEST_LOOK_S, _FORGET_EVERY_S = 5.0, 600.0
_AT_ONCE = 4
log = structlog.get_logger()


async def run_jobs(runtime: Runtime) -> None:
    """Until cancelled; what is under way then goes on elsewhere when its lease has run out."""
    look_s = min(runtime.settings.uploads.lease_s / 2, _LONGEST_LOOK_S)
    running: set[asyncio.Task[None]] = set()
    forgot = -_FORGET_EVERY_S
    try:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s * random.uniform(0.8, 1.2)):  # noqa: S311
                    await runtime.job_bell.wait()
            runtime.job_bell.clear()
            try:
                if time.monotonic() - forgot >= _FORGET_EVERY_S:
                    await runtime.metadata.jobs.forget_finished(older_than_s=KEPT_S)
                    forgot = time.monotonic()
                while len(running) < _AT_ONCE and (task := await _take(runtime)):
                    running.add(task)
                    task.add_done_callback(running.discard)
            except MediagateError as error:
                log.warning("jobs_failed", reason=error.code, detail=error.detail)
            except Exception:
                log.exception("jobs_failed")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _take(runtime: Runtime) -> asyncio.Task[None] | None:
    owner, lease_s = secrets.token_hex(8), runtime.settings.uploads.lease_s
    job = await runtime.metadata.jobs.take(owner, lease_s)
    if job is None:
        return None

    async def work() -> None:
        try:
            await run_deletion(runtime, job, owner, lease_s)
        except MediagateError as error:
            log.warning("job_left", job=job.id, reason=error.code, detail=error.detail)
        except Exception:
            log.exception("job_left", job=job.id)
        runtime.job_bell.set()  # another may wait for the room

    return asyncio.create_task(work(), name="job")
