"""The outbox: what every engine promises (service/stores/journal_port.py, Outbox)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from metadata_engines import OTHER_TENANT, TENANT, World

from service.errors import Conflict, Fenced, PreconditionFailed
from service.model.api_key import ApiKey, Scope
from service.model.bucket import BucketSettings, BucketState, Delivery
from service.model.event import Batch, Event, EventType, Publisher
from service.model.ids import KeyId, new_id

CHOSEN = BucketSettings(5 << 40, ("video/*", "$image"), "$cache", Delivery.REDIRECT)


async def leader(world: World, owner: str = "$a", ttl_s: float = 60) -> Publisher:
    publisher = await world.store.outbox.lead(owner, ttl_s)
    assert publisher is not None
    return publisher


async def claimed(world: World, publisher: Publisher, limit: int = 1000) -> Batch:
    return await world.store.outbox.claim(publisher, limit=limit)


async def drained(world: World) -> list[Event]:
    """Everything unpublished, published."""
    publisher = await leader(world)
    batch = await claimed(world, publisher)
    if batch.events:
        await world.store.outbox.published(publisher, batch)
    return list(batch.events)


async def api_key(world: World) -> ApiKey:
    now = await world.store.now()
    key = ApiKey(KeyId(new_id()), TENANT, "$n", b"\x01" * 32, frozenset(Scope), now, ("$b",))
    await world.store.keys.create(key)
    return key


async def test_a_commit_and_a_delete_are_events_with_all_facts(world: World):
    await drained(world)
    first = await world.put()
    second = await world.put()
    await world.delete()
    await world.delete()
    created, overwritten, deleted = await drained(world)
    assert (created.type, created.of, created.seq) == (EventType.OBJECT_CREATED, first, first.seq)
    assert (overwritten.type, overwritten.of) == (EventType.OBJECT_CREATED, second)
    assert (deleted.type, deleted.of) == (EventType.OBJECT_DELETED, second)
    assert deleted.seq == await world.store.versions.current_seq(*world.place, "k")
    assert created.seq < overwritten.seq < deleted.seq
    assert created.subject == overwritten.subject == deleted.subject


async def test_every_change_of_a_bucket_is_one_event(world: World):
    buckets = world.store.buckets
    [created] = await drained(world)
    assert (created.type, created.of, created.seq) == (EventType.BUCKET_CREATED, world.bucket, 1)
    assert created.at == world.bucket.created_at
    changed = await buckets.update(*world.place, CHOSEN, revision=1)
    with pytest.raises(PreconditionFailed):
        await buckets.update(*world.place, CHOSEN, revision=1)
    await buckets.revert_delete(*world.place, await buckets.begin_delete(*world.place))
    nonce = await buckets.begin_delete(*world.place)
    assert not await buckets.remove(*world.place, "another")
    assert await buckets.remove(*world.place, nonce)
    assert not await buckets.remove(*world.place, nonce)
    updated, removed = await drained(world)
    assert (updated.type, updated.of, updated.seq) == (EventType.BUCKET_UPDATED, changed, 2)
    assert (removed.type, removed.of, removed.seq) == (EventType.BUCKET_DELETED, changed, 3)
    assert changed.state is BucketState.ACTIVE
    assert created.at <= updated.at <= removed.at <= await world.store.now()


async def test_making_and_the_first_revocation_of_a_key_are_events(world: World):
    await drained(world)
    key = await api_key(world)
    with pytest.raises(Conflict):
        await world.store.keys.create(key)
    assert not await world.store.keys.revoke(OTHER_TENANT, key.id)
    assert await world.store.keys.revoke(TENANT, key.id)
    assert await world.store.keys.revoke(TENANT, key.id)
    made, revoked = await drained(world)
    assert (made.type, made.seq, made.of) == (EventType.KEY_CREATED, 1, key)
    assert (revoked.type, revoked.seq) == (EventType.KEY_REVOKED, 2)
    assert revoked.of == replace(key, revoked_at=revoked.at)


async def test_there_is_one_publisher_and_a_takeover_raises_the_epoch(world: World):
    outbox = world.store.outbox
    first = await leader(world, ttl_s=0.01)
    assert (first.epoch, first.position) == (1, 0)
    assert await leader(world, ttl_s=60) == first
    await world.pass_time(0.02)
    assert await outbox.lead("$b", 60) is None
    await outbox.step_down("$b")
    assert await outbox.lead("$b", 60) is None
    await outbox.step_down("$a")
    await world.pass_time(0.002)
    second = await leader(world, "$b", ttl_s=0.01)
    assert second == Publisher("$b", 2, 0)
    await world.pass_time(0.02)
    assert (await leader(world)).epoch == 3


async def test_one_of_many_at_once_leads(world: World):
    results = await asyncio.gather(*(world.store.outbox.lead(f"o{n}", 60) for n in range(8)))
    assert sum(result is not None for result in results) == 1


async def test_a_claim_gives_positions_that_never_come_again(world: World):
    publisher = await leader(world)
    await world.put("a")
    await world.put("b")
    batch = await claimed(world, publisher, limit=2)
    assert (batch.first, batch.last, len(batch.events)) == (1, 2, 2)
    again = await claimed(world, publisher)
    assert (again.first, again.last) == (3, 5)
    assert again.events[:2] == batch.events
    await world.store.outbox.published(publisher, again)
    assert (await claimed(world, publisher)).events == ()
    await world.put("c")
    assert (await claimed(world, publisher)).first == 6
    assert (await leader(world)).position == 6


async def test_events_of_one_key_come_in_order_of_seq_though_ids_and_commits_do_not(world: World):
    """The upload that was admitted first has the lesser id and commits last."""
    await drained(world)
    early = await world.completing()
    late = await world.completing()
    for upload in (late, early):
        await world.commit(upload)
    publisher = await leader(world)
    first = await claimed(world, publisher, limit=1)
    assert [event.id for event in first.events] == [late.ref.id]
    await world.store.outbox.published(publisher, first)
    second = await claimed(world, publisher, limit=1)
    assert [event.id for event in second.events] == [early.ref.id]


async def test_an_event_with_a_lesser_id_than_published_ones_is_not_skipped(world: World):
    slow = await world.completing("slow")
    await world.put("quick")
    await drained(world)
    await world.commit(slow)
    assert [event.id for event in await drained(world)] == [slow.ref.id]


async def test_a_publisher_that_was_taken_over_can_neither_claim_nor_mark(world: World):
    stale = await leader(world, ttl_s=0.01)
    batch = await claimed(world, stale)
    await world.pass_time(0.02)
    fresh = await leader(world, "$b")
    with pytest.raises(Fenced):
        await claimed(world, stale)
    with pytest.raises(Fenced):
        await world.store.outbox.published(stale, batch)
    again = await claimed(world, fresh)
    assert again.events == batch.events
    assert again.first > batch.last


async def test_a_batch_that_was_claimed_again_cannot_be_marked_any_more(world: World):
    publisher = await leader(world)
    lost = await claimed(world, publisher)
    again = await claimed(world, publisher)
    with pytest.raises(Fenced):
        await world.store.outbox.published(publisher, lost)
    await world.store.outbox.published(publisher, again)
    assert (await world.store.outbox.backlog()).pending == 0


async def test_published_events_go_after_their_time_and_others_never(world: World):
    await drained(world)
    await world.put()
    await world.pass_time(0.02)
    outbox = world.store.outbox
    assert await outbox.forget_published(older_than_s=60, limit=10) == 0
    assert await outbox.forget_published(older_than_s=0.01, limit=10) == 1
    assert await outbox.forget_published(older_than_s=0, limit=10) == 0
    assert (await outbox.backlog()).pending == 1


async def test_the_backlog_tells_how_many_wait_and_since_when(world: World):
    await world.put()
    await world.pass_time(0.05)
    backlog = await world.store.outbox.backlog()
    assert (backlog.pending, backlog.epoch, backlog.position) == (2, 0, 0)
    assert 0.05 <= backlog.lag_s < 8
    await drained(world)
    backlog = await world.store.outbox.backlog()
    assert (backlog.pending, backlog.lag_s, backlog.epoch, backlog.position) == (0, 0, 1, 2)
