"""The watcher asks both stores all the time, so that breakers know without risking a request."""

from __future__ import annotations

import asyncio

import structlog

from service.usecases.readiness import Readiness

INTERVAL_S = 0.5
"""Between two looks; `Readiness` keeps what it found for a second."""
log = structlog.get_logger()


async def watch_stores(readiness: Readiness) -> None:
    """Until cancelled."""
    while True:
        try:
            await readiness.problems()
        except Exception:
            log.exception("watcher_failed")
        await asyncio.sleep(INTERVAL_S)
