"""Long cycles, one replica at a time: who is due, holds the lease and has it extended meanwhile."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from service.errors import MediagateError
from service.model.audit import Progress
from service.usecases.runtime import Runtime

LOOK_S = 60.0
LEASE_S = 120.0
log = structlog.get_logger()


async def take_turns(
    runtime: Runtime,
    worker: str,
    interval_s: float,
    cycle: Callable[[], Awaitable[object]],
    seen: Callable[[Progress], None],
) -> None:
    """Run `cycle` whenever the last one began `interval_s` ago, or was not ended, until cancelled.

    seen: called at each look with how far any replica is, so that all of them show the same.
    """
    owner, leases = secrets.token_hex(8), runtime.metadata.leases
    try:
        while True:
            await asyncio.sleep(min(interval_s, LOOK_S) * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                progress = await runtime.metadata.audits.progress(worker)
                seen(progress)
                due = await _is_due(runtime, progress, interval_s)
                if due and await leases.acquire(worker, owner, LEASE_S):
                    await _held(runtime, worker, owner, cycle)
            except MediagateError as error:
                log.warning(f"{worker}_failed", reason=error.code, detail=error.detail)
            except Exception:
                log.exception(f"{worker}_failed")
    finally:
        await give_back(runtime, worker, owner)


async def _is_due(runtime: Runtime, progress: Progress, interval_s: float) -> bool:
    if progress.began_at is None or progress.finished_at is None:
        return True
    return await runtime.metadata.now() >= progress.began_at + timedelta(seconds=interval_s)


async def _held(
    runtime: Runtime, worker: str, owner: str, cycle: Callable[[], Awaitable[object]]
) -> None:
    """Run the cycle; stop it when somebody else has the lease. Safety does not hang on it."""
    running = asyncio.ensure_future(cycle())
    keeping = asyncio.create_task(_keep(runtime, worker, owner))
    try:
        await asyncio.wait({running, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        else:
            log.warning(f"{worker}_lost_its_turn")
    finally:
        keeping.cancel()
        running.cancel()
        await asyncio.gather(running, keeping, return_exceptions=True)
        await give_back(runtime, worker, owner)


async def _keep(runtime: Runtime, worker: str, owner: str) -> None:
    """Extend the lease; returns when it is somebody else's."""
    while True:
        await asyncio.sleep(LEASE_S / 4)
        try:
            if not await runtime.metadata.leases.acquire(worker, owner, LEASE_S):
                return
        except MediagateError as error:
            log.info("lease_not_extended", worker=worker, reason=error.code)


async def give_back(runtime: Runtime, worker: str, owner: str) -> None:
    """Release the lease; where the store does not answer it expires by itself."""
    try:
        await runtime.metadata.leases.release(worker, owner)
    except MediagateError as error:
        log.debug("lease_left_to_expire", worker=worker, reason=error.code)
