"""What follows every fault: time passes, the sweeper passes, late requests arrive, all is quiet."""

from __future__ import annotations

from service.model.bucket import BucketState
from tests.faults.world import (
    GRACE_S,
    IDEMPOTENCY_S,
    LEASE_S,
    QUIET_ROUNDS,
    TOMBSTONE_S,
    World,
)


async def settle(world: World) -> None:
    """The first half: what was abandoned is finished or undone, then late requests arrive.

    They arrive within the time for which the tombstones wait (the store's signatures expire).
    """
    world.metadata.replica.settle()
    world.pass_time(LEASE_S + 1)
    await _sweep_until_done(world)
    await world.deliver_late()
    for _ in range(2):
        world.pass_time(TOMBSTONE_S + 1)
        await _sweep_until_done(world)


async def clean(world: World) -> None:
    """The second half: half-deleted buckets are asked for again, and every grace ends."""
    await _end_deletions(world)
    ends = (TOMBSTONE_S, GRACE_S, TOMBSTONE_S, IDEMPOTENCY_S)
    # A resumable upload that its client never heard of expires in between, and is remembered.
    for wait_s in (*ends, TOMBSTONE_S, IDEMPOTENCY_S):
        world.pass_time(wait_s + 1)
        await _sweep_until_done(world)


async def _sweep_until_done(world: World) -> None:
    for _ in range(QUIET_ROUNDS):
        report = (await world.sweep()).swept
        if report is not None and not any(report.work().values()):
            return
    world.expect(False, "the sweeper never comes to rest")


async def _end_deletions(world: World) -> None:
    """A deletion that was interrupted goes on when the client asks again."""
    for bucket in list(world.metadata.buckets.buckets.values()):
        if bucket.state is BucketState.DELETING:
            await world.delete_bucket()
