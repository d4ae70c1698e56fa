"""An event loop in which time passes only while everybody waits, and then at once.

With stores in memory nothing else happens outside, so the order of all steps is always the same.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _Selector(selectors.SelectSelector):
    """Nothing is ever read from a socket: a wait is a jump in time."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda seconds: None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        if timeout > 0:
            self.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """passed: told of every jump, in seconds, so that other clocks keep up."""

    def __init__(self, passed: Callable[[float], None]) -> None:
        self._now = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.jump = self._jump
        self._passed = passed

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds
        self._passed(seconds)
