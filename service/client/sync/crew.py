"""A few workers that take items as they come: a bound for requests, descriptors and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from service.client.io_thread import BlockingThread

T = TypeVar("T")
Work = Callable[[BlockingThread, T], Awaitable[None]]


async def each(items: AsyncIterator[T], work: Work[T], *, workers: int) -> None:
    """`work` on every item, in no order. The first error of it ends all and is raised."""
    waiting: asyncio.Queue[T | None] = asyncio.Queue(workers)

    async def worker() -> None:
        async with BlockingThread() as thread:
            while (item := await waiting.get()) is not None:
                await work(thread, item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
            async for item in items:
                await waiting.put(item)
            for _ in range(workers):
                await waiting.put(None)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
