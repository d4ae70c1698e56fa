import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.usecases.byte_budget import GRAIN_BYTES, ByteBudget

MIB = 1 << 20


async def test_lane_takes_grains_and_gives_all_back() -> None:
    budget = ByteBudget(8 * MIB)
    lane = budget.lane(4 * MIB)
    await lane.reserve(1)
    assert budget.used_bytes == GRAIN_BYTES
    await lane.reserve(100 * MIB)
    assert budget.used_bytes == 4 * MIB
    lane.filled()
    assert budget.used_bytes == 4 * MIB
    lane.release()
    lane.release()
    assert budget.used_bytes == 0


async def test_part_larger_than_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        ByteBudget(MIB).lane(MIB + 1)


async def test_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    budget = ByteBudget(4 * MIB)
    first, second = budget.lane(4 * MIB), budget.lane(4 * MIB)
    await first.reserve(GRAIN_BYTES)
    waiting = asyncio.create_task(second.reserve(GRAIN_BYTES))
    await asyncio.sleep(0)
    assert budget.contended
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not budget.contended
    second.release()
    first.release()
    assert budget.used_bytes == 0


async def test_grant_that_meets_a_cancellation_is_given_back() -> None:
    budget = ByteBudget(4 * MIB)
    first, second = budget.lane(4 * MIB), budget.lane(4 * MIB)
    await first.reserve(GRAIN_BYTES)
    waiting = asyncio.create_task(second.reserve(GRAIN_BYTES))
    await asyncio.sleep(0)
    first.release()  # grants the waiter, whose task has not run yet
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    second.release()
    assert budget.used_bytes == 0


async def fill(budget: ByteBudget, part_bytes: int, parts: int, rng: random.Random) -> None:
    for _ in range(parts):
        lane = budget.lane(part_bytes)
        try:
            taken = 0
            while taken < part_bytes:
                taken += rng.randint(1, 64 << 10)
                await lane.reserve(taken)
                if rng.random() < 0.05:
                    await asyncio.sleep(0)
                assert budget.used_bytes <= budget.limit_bytes
            lane.filled()
            await asyncio.sleep(0)
        finally:
            lane.release()


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 300_000, MIB, 2 * MIB, 4 * MIB]), min_size=1, max_size=24),
    seed=st.integers(0, 1000),
)
async def test_many_uploads_share_a_small_budget_without_deadlock(
    sizes: list[int], seed: int
) -> None:
    budget, rng = ByteBudget(4 * MIB), random.Random(seed)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for size in sizes:
            group.create_task(fill(budget, size, 2, rng))
    assert budget.used_bytes == 0
