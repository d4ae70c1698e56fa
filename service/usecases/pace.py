"""A bound on how fast something may be done."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """`spend` returns when so many bytes may have been read since the beginning.

    Time in which nothing was spent is not made up for.
    """

    def __init__(self, rate_bytes_s: int) -> None:
        self._rate_bytes_s = rate_bytes_s
        self._free_at = time.monotonic()

    async def spend(self, size_bytes: int) -> None:
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size_bytes / self._rate_bytes_s
        await asyncio.sleep(self._free_at - now)
