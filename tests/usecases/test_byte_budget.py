import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.usecases.byte_budget import GRAIN_BYTES, ByteBudget, Lane

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


async def test_what_parts_may_still_take_is_claimed_until_they_are_filled() -> None:
    budget = ByteBudget(8 * MIB)
    lane = budget.lane(4 * MIB)
    await lane.reserve(1)
    assert (budget.free_bytes, budget.unclaimed_bytes) == (8 * MIB - GRAIN_BYTES, 4 * MIB)
    lane.filled()
    assert budget.unclaimed_bytes == budget.free_bytes == 8 * MIB - GRAIN_BYTES
    lane.release()
    assert budget.unclaimed_bytes == 8 * MIB


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
                if rng.random() < 0.02:
                    lane.step_aside()
                if rng.random() < 0.05:
                    await asyncio.sleep(0)
                assert budget.used_bytes <= budget.limit_bytes
            lane.filled()
            await asyncio.sleep(0)
        finally:
            lane.release()


@settings(max_examples=60, deadline=None)
@given(
    limit=st.sampled_from([4 * MIB, 5 * MIB, 9 * MIB]),
    sizes=st.lists(st.sampled_from([1, 300_000, MIB, 2 * MIB, 4 * MIB]), min_size=1, max_size=24),
    seed=st.integers(0, 1000),
)
async def test_many_uploads_share_a_small_budget_without_deadlock(
    limit: int, sizes: list[int], seed: int
) -> None:
    budget, rng = ByteBudget(limit), random.Random(seed)
    tasks = [asyncio.create_task(fill(budget, size, 2, rng)) for size in sizes]
    for task in rng.sample(tasks, k=len(tasks) // 4):
        await asyncio.sleep(0)
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert budget.used_bytes == 0


async def silent_client(budget: ByteBudget, part_bytes: int) -> Lane:
    """A lane that was begun and is not gone on with."""
    lane = budget.lane(part_bytes)
    await lane.reserve(1)
    lane.step_aside()
    return lane


async def slow_client(budget: ByteBudget, part_bytes: int) -> Lane:
    """It always wants more, and never uses it as fast as others could."""
    lane = budget.lane(part_bytes)
    lane.pace_bytes_s = 100_000
    for size in range(GRAIN_BYTES, part_bytes // 2, GRAIN_BYTES):
        await lane.reserve(size)
        lane.step_aside()
    return lane


@pytest.mark.parametrize("count", [1, 10])
async def test_clients_that_fell_silent_first_do_not_stop_the_others(count: int) -> None:
    budget = ByteBudget(4 * MIB)
    for _ in range(count):
        await silent_client(budget, MIB)
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(fill(budget, MIB, 3, random.Random(1)))


async def test_slow_clients_do_not_hold_what_quick_ones_wait_for() -> None:
    budget = ByteBudget(16 * MIB)
    slow = [asyncio.create_task(slow_client(budget, 4 * MIB)) for _ in range(30)]
    await asyncio.sleep(0)
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(fill(budget, 4 * MIB, 3, random.Random(1)))
    waiting = [task for task in slow if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_slow_client_gets_its_turn_while_quick_ones_keep_coming() -> None:
    budget = ByteBudget(4 * MIB)

    async def keep_coming() -> None:
        while True:
            await fill(budget, MIB, 1, random.Random(1))

    quick = [asyncio.create_task(keep_coming()) for _ in range(20)]
    await asyncio.sleep(0)
    lane = budget.lane(MIB)
    lane.pace_bytes_s = 1
    async with asyncio.timeout(2):
        for size in range(1, MIB, 10_000):
            await lane.reserve(size)
    lane.release()
    for task in quick:
        task.cancel()
    await asyncio.gather(*quick, return_exceptions=True)
