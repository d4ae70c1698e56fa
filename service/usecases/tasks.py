"""Tasks that must outlive the request which started them: commits and undos.

Nothing is fire-and-forget: every task stands in a set until it ends, a failure is logged, and
`drain` waits for all of them at shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")
UNWIND_S = 0.2
"""How long a cancelled task is waited for: one that waits for a driver's thread goes on longer."""
log = structlog.get_logger()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; a cancellation waits until it has ended by itself.

    For a request that makes something in the store: an undo that overtook it would find nothing to
    remove, and what it makes would stay until the tombstone's second look.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the caller is going away
        raise


class Tasks:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start `work`; whoever awaits the task (shielded) gets its result or error."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def outlive(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Await `work` so that cancelling the caller does not cancel it."""
        return await asyncio.shield(self.spawn(work, name=name))

    async def drain(self, timeout_s: float) -> int:
        """Wait for all tasks, then cancel what is left; returns how many that were.

        What is cancelled loses nothing: the sweeper finishes or undoes it by the ledger.
        """
        if not self._running:
            return 0
        _, late = await asyncio.wait(self._running, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=UNWIND_S)
        return len(late)

    def __len__(self) -> int:
        return len(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("task_failed", task=task.get_name(), error=repr(error))
