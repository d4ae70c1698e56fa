"""Another try, and a few things at once, for work that reads through a whole store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from service.errors import StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")
TRIES, PAUSE_S = 3, 0.5
AT_ONCE = 8


async def patiently(work: Callable[[], Awaitable[R]]) -> R:
    """What `work` returns; one hiccup of a store must not end a cycle of hours.

    Raises StoreUnavailable where it is none.
    """
    for attempt in range(1, TRIES):
        try:
            return await work()
        except StoreUnavailable:
            await asyncio.sleep(PAUSE_S * attempt)
    return await work()


async def a_few_at_once(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> Sequence[R]:
    """The results in the order of the items; the first error is raised once all have ended."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def guarded(item: T) -> R:
        async with gate:
            return await work(item)

    results = await asyncio.gather(*map(guarded, items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
