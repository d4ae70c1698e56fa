"""When to try again, how long to wait before, and when to give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from service.client.problems import Unreachable
from service.errors import (
    IncompleteBody,
    MediagateError,
    RateLimited,
    RequestInProgress,
    SlowClient,
    StoreUnavailable,
)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 8.0
Notice = Callable[[MediagateError, float], None]
"""Told the error and the seconds until the next attempt."""
Progress = Callable[[int, int | None], None]
"""Told the bytes that are done and the bytes in all (None: unknown); the first may go back."""


class Patience:
    """Pauses that double, until `limit_s` have gone by without any progress.

    A service that was never reached is not waited for: its address is wrong, or it does not run.
    """

    errors: tuple[type[MediagateError], ...] = (Unreachable, StoreUnavailable, RateLimited)
    """What is worth another attempt at a read."""

    def __init__(self, limit_s: float, notice: Notice | None = None) -> None:
        self._limit_s = limit_s
        self._notice = notice
        self._reached = False
        self.progress()

    def progress(self) -> None:
        """Something arrived: start afresh."""
        self._since = time.monotonic()
        self._pause_s = FIRST_PAUSE_S

    async def wait(self, error: MediagateError) -> None:
        """Pause, or raise the error when patience is over."""
        if not isinstance(error, Unreachable) or error.extras.get("connected"):
            self._reached = True
        pause_s = self._pause_s * random.uniform(0.5, 1.5)  # noqa: S311 -- spreads, hides nothing
        asked_s = error.extras.get("retry_after_s")
        if isinstance(asked_s, int | float):
            pause_s = max(pause_s, float(asked_s))
        spent_s = time.monotonic() - self._since
        if not self._reached or spent_s + pause_s > self._limit_s:
            raise error
        if self._notice:
            self._notice(error, pause_s)
        await asyncio.sleep(pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


AGAIN: tuple[type[MediagateError], ...] = (
    *Patience.errors,
    RequestInProgress,
    SlowClient,
    IncompleteBody,
)
"""What is worth another attempt at a write under the same Idempotency-Key."""


class Headway:
    """Passes progress on; whatever is more than ever before lets patience start afresh.

    Sending the same bytes once more is no progress.
    """

    def __init__(self, patience: Patience, progress: Progress) -> None:
        self._patience = patience
        self._progress = progress
        self._furthest = 0

    def __call__(self, done_bytes: int, size_bytes: int | None) -> None:
        if done_bytes > self._furthest:
            self._furthest = done_bytes
            self._patience.progress()
        self._progress(done_bytes, size_bytes)
