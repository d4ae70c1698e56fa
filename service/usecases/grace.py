"""The end of the process: one span of time that all its stages share.

A stage that is quick leaves its time to the next; one that is slow takes it from nobody's promise,
since each asks for what is left until its own share of the whole has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 0.01


class Grace:
    """seconds: from `begin` to the end. clock: seconds that never go back."""

    def __init__(self, seconds: float = 10, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began_at: float | None = None

    def begin(self) -> None:
        """At the signal to end; without one, the first question begins it."""
        if self._began_at is None:
            self._began_at = self._clock()

    def left_s(self, share: float) -> float:
        """Until this share of the whole has passed, and never 0, which is for ever to some."""
        self.begin()
        assert self._began_at is not None
        return max(self._began_at + share * self._seconds - self._clock(), LEAST_S)
