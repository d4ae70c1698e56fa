"""Named leases: what every engine promises (service/stores/ports.py, LeaseStore)."""

from __future__ import annotations

import asyncio

from metadata_engines import World


async def test_a_lease_has_one_holder(world: World):
    leases = world.store.leases
    assert await leases.acquire("$sweep", "$a", 60)
    assert not await leases.acquire("$sweep", "$b", 60)
    assert await leases.acquire("other", "$b", 60)


async def test_its_holder_extends_a_lease(world: World):
    leases = world.store.leases
    assert await leases.acquire("sweep", "a", 0.01)
    assert await leases.acquire("sweep", "a", 60)
    await world.pass_time(0.02)
    assert not await leases.acquire("sweep", "b", 60)


async def test_a_lease_that_ran_out_is_free(world: World):
    leases = world.store.leases
    assert await leases.acquire("sweep", "a", 0.01)
    await world.pass_time(0.02)
    assert await leases.acquire("sweep", "b", 60)
    assert not await leases.acquire("sweep", "a", 60)


async def test_release_frees_a_lease_of_its_holder_only(world: World):
    leases = world.store.leases
    await leases.acquire("sweep", "a", 60)
    await leases.release("sweep", "b")
    assert not await leases.acquire("sweep", "b", 60)
    await leases.release("sweep", "a")
    await leases.release("sweep", "a")
    assert await leases.acquire("sweep", "b", 60)


async def test_one_of_many_at_once_gets_the_lease(world: World):
    leases = world.store.leases
    won = await asyncio.gather(*(leases.acquire("sweep", f"o{n}", 60) for n in range(10)))
    assert sum(won) == 1


async def test_one_of_many_at_once_gets_a_lease_that_ran_out(world: World):
    leases = world.store.leases
    await leases.acquire("sweep", "old", 0.01)
    await world.pass_time(0.02)
    won = await asyncio.gather(*(leases.acquire("sweep", f"o{n}", 60) for n in range(10)))
    assert sum(won) == 1
