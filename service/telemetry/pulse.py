"""What a process looks at by itself, many times a second, so that its metrics are true."""

from __future__ import annotations

import asyncio

from service.telemetry.metrics import Metrics

_INTERVAL_S = 0.25


async def keep_fresh(metrics: Metrics) -> None:
    """For ever: until it is cancelled."""
    while True:
        metrics.refresh()
        await asyncio.sleep(_INTERVAL_S)
