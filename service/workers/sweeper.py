"""The sweeper runs in every replica; the lease keeps it to one at a time, to save work only."""

from __future__ import annotations

import asyncio
import random
import secrets
import time

import structlog

from service.errors import MediagateError
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from service.workers.turns import give_back

LEASE = "sweeper"
log = structlog.get_logger()


async def run_sweeper(runtime: Runtime) -> None:
    """Sweep every `sweep.interval_s` (± 20%) until cancelled; the lease is given back then."""
    owner = secrets.token_hex(8)
    interval_s = runtime.settings.sweep.interval_s
    try:
        while True:
            await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                if await runtime.metadata.leases.acquire(LEASE, owner, 3 * interval_s):
                    await _sweep_once(runtime)
            except MediagateError as error:
                log.warning("sweeper_failed", reason=error.code, detail=error.detail)
            except Exception:
                log.exception("sweeper_failed")
    finally:
        await give_back(runtime, LEASE, owner)


async def _sweep_once(runtime: Runtime) -> None:
    began = time.monotonic()
    report = await sweep(runtime)
    if any(report.work().values()):
        duration_ms = round((time.monotonic() - began) * 1000)
        log.info("swept", duration_ms=duration_ms, **report.as_dict())
