"""How late the event loop is, and what else a process must look at by itself for its metrics."""

from __future__ import annotations

import asyncio

from service.telemetry.metrics import Metrics

INTERVAL_S = 0.05


async def keep_time(metrics: Metrics) -> None:
    """Until it is cancelled: observe every `INTERVAL_S` how late the loop came to it.

    On a fixed schedule, and what was missed is made up for: a loop that stood still for a second
    was late for all twenty who might have asked meanwhile, not for one.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += INTERVAL_S
        await asyncio.sleep(due - loop.time())
        metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due))
        metrics.refresh()
