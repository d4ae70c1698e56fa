"""The write ledger: what every engine promises (service/stores/ports.py, UploadLedger)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from metadata_engines import (
    CREATE_ONLY,
    DEADLINE_S,
    OTHER_TENANT,
    OWNER,
    TRICKY,
    TRICKY_FACTS,
    WRONG_REFS,
    World,
    completion,
    fresh_key,
    named,
    only_if,
)

from service.errors import Fenced
from service.model.ids import BucketId, MultipartId, UploadId, new_id
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Part, Upload, UploadState, UsedKey
from service.stores.ports import UploadLedger

OPEN, COMPLETING = UploadState.OPEN, UploadState.COMPLETING
COMMITTED, UNDOING, UNDONE = UploadState.COMMITTED, UploadState.UNDOING, UploadState.UNDONE
ALL_STATES = (OPEN, COMPLETING, COMMITTED, UNDOING, UNDONE)


# admit


async def test_admit_writes_the_intent_down_as_open(world: World):
    intent = world.intent(TRICKY, declared_size_bytes=5 << 40)
    before = await world.store.now()
    upload = await world.store.uploads.admit(intent, "$owner", 60)
    assert upload.state is OPEN
    assert upload.intent == intent
    assert (upload.ref.id, upload.ref.epoch, upload.ref.owner) == (intent.id, 1, "$owner")
    assert upload.keys == (UsedKey(intent.blob_key),)
    assert before <= upload.created_at <= await world.store.now()
    assert upload.lease_until == upload.created_at + timedelta(seconds=60)
    assert await world.read(upload) == upload


async def test_an_intent_is_read_back_as_it_was_given(world: World):
    tags = EntityTags((EntityTag("$a"), EntityTag("b", weak=True)))
    moment = (await world.store.now()).replace(microsecond=0)
    conditions = Preconditions(tags, EntityTags(any=True), moment, moment + timedelta(days=1))
    intent = world.intent(TRICKY, preconditions=conditions, idempotency=named())
    upload = await world.store.uploads.admit(intent, OWNER, 60)
    assert (await world.read(upload)).intent == intent


async def test_an_unknown_upload_is_none(world: World):
    assert await world.store.uploads.get(UploadId(new_id())) is None


async def test_a_taken_idempotency_key_returns_the_earlier_upload(world: World):
    first = await world.opened(idempotency=named())
    intent = world.intent("other", idempotency=named(fingerprint="another"))
    second = await world.store.uploads.admit(intent, "other-owner", 60)
    assert second == first
    assert await world.store.uploads.get(intent.id) is None


async def test_an_idempotency_key_stays_taken_after_the_commit(world: World):
    upload = await world.completing(idempotency=named())
    committed = await world.commit(upload)
    again = await world.opened(idempotency=named())
    assert again == committed
    assert again.version() == committed.version()


@pytest.mark.parametrize(
    "other", [{"principal": "$who2"}, {"key": "$retry2"}, {"ordinal": 1}], ids=str
)
async def test_another_idempotency_key_is_free(world: World, other: dict):
    first = await world.opened(idempotency=named())
    second = await world.opened(idempotency=named(**other))
    assert second.ref.id != first.ref.id


async def test_an_idempotency_key_belongs_to_its_tenant(world: World):
    first = await world.opened(idempotency=named())
    second = await world.opened(idempotency=named(), tenant=OTHER_TENANT)
    assert second.ref.id != first.ref.id


async def test_undone_frees_the_idempotency_key(world: World):
    first = await world.opened(idempotency=named())
    await world.store.uploads.begin_undo(first.ref, 60)
    assert (await world.opened(idempotency=named())).ref == first.ref
    await world.store.uploads.finish_undo(first.ref, 60)
    assert (await world.opened(idempotency=named())).ref.id != first.ref.id


async def test_one_of_many_requests_at_once_gets_the_idempotency_key(world: World):
    uploads = await asyncio.gather(*(world.opened(idempotency=named()) for _ in range(20)))
    assert len({upload.ref.id for upload in uploads}) == 1
    assert len(await world.store.uploads.undoable_in(*world.place, limit=100)) == 1


async def test_uploads_without_idempotency_key_are_all_admitted(world: World):
    uploads = await asyncio.gather(*(world.opened() for _ in range(10)))
    assert len({upload.ref.id for upload in uploads}) == 10


# the steps of an owner

Step = Callable[[UploadLedger, Upload], Awaitable[object]]


STEPS: dict[str, tuple[Step, tuple[UploadState, ...]]] = {
    "renew": (lambda ledger, u: ledger.renew(u.ref, 600), (OPEN, COMPLETING, UNDOING)),
    "switch_key": (lambda ledger, u: ledger.switch_key(u.ref, fresh_key()), (OPEN,)),
    "save_multipart": (
        lambda ledger, u: ledger.save_multipart(u.ref, u.intent.blob_key, MultipartId("m")),
        (OPEN,),
    ),
    "complete": (lambda ledger, u: ledger.complete(u.ref, completion(), 60), (OPEN,)),
    "commit": (lambda ledger, u: ledger.commit(u.ref, deadline_s=DEADLINE_S), (COMPLETING,)),
    "begin_undo": (lambda ledger, u: ledger.begin_undo(u.ref, 90), (OPEN, COMPLETING, UNDOING)),
    "finish_undo": (lambda ledger, u: ledger.finish_undo(u.ref, 60), (UNDOING,)),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wrong", WRONG_REFS)
async def test_a_step_under_a_wrong_ref_is_fenced_and_changes_nothing(
    world: World, step: str, wrong: str
):
    do, states = STEPS[step]
    upload = await world.in_state(states[0])
    with pytest.raises(Fenced):
        await do(world.store.uploads, replace(upload, ref=WRONG_REFS[wrong](upload.ref)))
    assert await world.read(upload) == upload


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (step, state)
        for step, (_, allowed) in STEPS.items()
        for state in ALL_STATES
        if state not in allowed
    ],
)
async def test_a_step_in_a_wrong_state_is_fenced_and_changes_nothing(
    world: World, step: str, state: UploadState
):
    upload = await world.in_state(state)
    with pytest.raises(Fenced):
        await STEPS[step][0](world.store.uploads, upload)
    assert await world.read(upload) == upload


@pytest.mark.parametrize(
    ("step", "state"),
    [(step, state) for step, (_, allowed) in STEPS.items() for state in allowed],
)
async def test_a_step_in_a_right_state_is_taken(world: World, step: str, state: UploadState):
    upload = await world.in_state(state)
    await STEPS[step][0](world.store.uploads, upload)
    assert await world.read(upload) != upload


async def test_renew_extends_the_lease(world: World):
    upload = await world.opened(lease_s=1)
    await world.store.uploads.renew(upload.ref, 60)
    renewed = await world.read(upload)
    assert renewed.lease_until >= upload.created_at + timedelta(seconds=60)
    assert renewed == replace(upload, lease_until=renewed.lease_until)


async def test_switch_key_notes_the_new_key_beside_the_old_ones(world: World):
    upload = await world.opened()
    one, two = upload.intent.blob_key, fresh_key()
    await world.store.uploads.switch_key(upload.ref, two)
    switched = await world.read(upload)
    assert switched.intent.blob_key == two
    assert switched.keys == (UsedKey(one), UsedKey(two))


async def test_save_multipart_notes_the_id_at_its_key(world: World):
    upload = await world.opened()
    one, two = upload.intent.blob_key, fresh_key()
    await world.store.uploads.switch_key(upload.ref, two)
    await world.store.uploads.save_multipart(upload.ref, two, MultipartId("$m2"))
    assert (await world.read(upload)).keys == (UsedKey(one), UsedKey(two, MultipartId("$m2")))


async def test_save_multipart_of_an_unknown_key_is_fenced(world: World):
    upload = await world.opened()
    with pytest.raises(Fenced):
        await world.store.uploads.save_multipart(upload.ref, fresh_key(), MultipartId("m"))
    assert await world.read(upload) == upload


async def test_complete_records_what_the_version_will_be(world: World):
    upload = await world.opened(lease_s=1)
    parts = (Part(1, 5 << 20, '"$etag"', b"\0\xff"), Part(2, 1, '"b"', None))
    whole = replace(completion(base_seq=7), parts=parts)
    await world.store.uploads.complete(upload.ref, whole, 60)
    found = await world.read(upload)
    assert found.state is COMPLETING
    assert found.completion == whole
    assert upload.created_at <= found.completing_at <= await world.store.now()
    assert found.lease_until == found.completing_at + timedelta(seconds=60)


# undo, fence, take over


@pytest.mark.parametrize("state", [OPEN, COMPLETING])
async def test_begin_undo_wins_and_is_found_won_again(world: World, state: UploadState):
    upload = await world.in_state(state)
    won = await world.store.uploads.begin_undo(upload.ref, 60)
    assert won.state is UNDOING
    assert won.ref == upload.ref
    again = await world.store.uploads.begin_undo(upload.ref, 60)
    assert again.state is UNDOING


async def test_after_begin_undo_nothing_commits(world: World):
    upload = await world.completing()
    await world.store.uploads.begin_undo(upload.ref, 60)
    with pytest.raises(Fenced):
        await world.commit(upload)
    assert await world.latest() is None


async def test_finish_undo_leaves_a_tombstone(world: World):
    upload = await world.undone(look_again_s=60)
    now = await world.store.now()
    assert upload.state is UNDONE
    assert upload.lease_until is None
    assert now < upload.clean_at <= now + timedelta(seconds=60)
    assert await world.store.uploads.undoable_in(*world.place, limit=10) == []


@pytest.mark.parametrize("state", [OPEN, COMPLETING])
async def test_fence_takes_an_upload_whatever_its_lease(world: World, state: UploadState):
    upload = await world.in_state(state)
    taken = await world.store.uploads.fence(upload.ref.id, "$fencer", 60)
    assert taken is not None
    assert (taken.ref.epoch, taken.ref.owner) == (upload.ref.epoch + 1, "$fencer")
    assert taken.state is UNDOING
    assert await world.read(upload) == taken
    with pytest.raises(Fenced):
        await world.store.uploads.renew(upload.ref, 60)


@pytest.mark.parametrize("state", [COMMITTED, UNDOING, UNDONE])
async def test_fence_leaves_what_cannot_be_undone(world: World, state: UploadState):
    upload = await world.in_state(state)
    assert await world.store.uploads.fence(upload.ref.id, "fencer", 60) is None
    assert await world.read(upload) == upload


async def test_fence_and_take_over_of_an_unknown_upload_are_none(world: World):
    unknown = UploadId(new_id())
    assert await world.store.uploads.fence(unknown, "x", 60) is None
    assert await world.store.uploads.take_over(unknown, "x", 60) is None


@pytest.mark.parametrize("state", [OPEN, COMPLETING, UNDOING])
async def test_take_over_waits_for_the_lease_to_run_out(world: World, state: UploadState):
    upload = await world.in_state(state)
    assert await world.store.uploads.take_over(upload.ref.id, "sweeper", 60) is None
    assert await world.read(upload) == upload
    await world.store.uploads.renew(upload.ref, 0.01)
    await world.pass_time(0.02)
    taken = await world.store.uploads.take_over(upload.ref.id, "$sweeper", 60)
    assert taken is not None
    assert taken.state is state
    assert (taken.ref.epoch, taken.ref.owner) == (upload.ref.epoch + 1, "$sweeper")
    assert taken.lease_until > await world.store.now()
    with pytest.raises(Fenced):
        await world.store.uploads.renew(upload.ref, 60)


@pytest.mark.parametrize("state", [COMMITTED, UNDONE])
async def test_take_over_leaves_what_owes_nothing(world: World, state: UploadState):
    upload = await world.in_state(state)
    await world.pass_time(0.02)
    assert await world.store.uploads.take_over(upload.ref.id, "sweeper", 60) is None
    assert await world.read(upload) == upload


async def test_one_of_many_takes_over(world: World):
    upload = await world.opened(lease_s=0.01)
    await world.pass_time(0.02)
    taken = await asyncio.gather(
        *(world.store.uploads.take_over(upload.ref.id, f"s{n}", 60) for n in range(10))
    )
    assert len([one for one in taken if one is not None]) == 1
    assert (await world.read(upload)).ref.epoch == 2


# what the sweeper asks


async def test_expired_lists_unfinished_uploads_past_their_lease(world: World):
    ledger = world.store.uploads
    await world.opened("leased")
    await world.put("committed")
    await world.undone("undone")
    late = [await world.opened(f"late{n}", lease_s=0.01) for n in range(2)]
    late += [await world.completing(lease_s=0.01), await world.undoing(lease_s=0.01)]
    await world.pass_time(0.02)
    found = await ledger.expired(limit=10)
    assert {upload.ref.id for upload in found} == {upload.ref.id for upload in late}
    assert found[0] == await world.read(found[0])
    assert len(await ledger.expired(limit=3)) == 3


async def test_undoable_in_lists_one_bucket_leased_or_not(world: World):
    ledger = world.store.uploads
    ours = [await world.opened(lease_s=0.01), await world.completing()]
    await world.undoing()
    await world.put("committed")
    await world.undone("undone")
    await world.opened(tenant=OTHER_TENANT)
    await world.opened(bucket_id=BucketId(new_id()))
    found = await ledger.undoable_in(*world.place, limit=10)
    assert {upload.ref.id for upload in found} == {upload.ref.id for upload in ours}
    assert len(await ledger.undoable_in(*world.place, limit=1)) == 1


async def test_a_tombstone_is_due_when_its_time_has_come(world: World):
    upload = await world.undone(look_again_s=0.3)
    assert await world.store.uploads.due(limit=10) == []
    await world.pass_time(0.3)
    assert await world.store.uploads.due(limit=10) == [upload]


async def test_leftovers_are_due_at_once_then_later_then_never(world: World):
    ledger = world.store.uploads
    upload = await world.put_with_leftover()
    await world.pass_time(0)
    assert await ledger.due(limit=10) == [upload]
    await ledger.cleaned(upload.ref.id, look_again_s=0.3)
    assert await ledger.due(limit=10) == []
    looked = await world.read(upload)
    assert (looked.looks, looked.leftovers) == (1, upload.leftovers)
    await world.pass_time(0.3)
    assert await ledger.due(limit=10) == [looked]
    await ledger.cleaned(upload.ref.id, look_again_s=None)
    settled = await world.read(upload)
    assert (settled.leftovers, settled.clean_at) == ((), None)
    await world.pass_time(0.3)
    assert await ledger.due(limit=10) == []


async def test_an_upload_without_leftovers_is_never_due(world: World):
    await world.put()
    await world.pass_time(0.02)
    assert await world.store.uploads.due(limit=10) == []


async def test_due_respects_its_limit(world: World):
    for n in range(3):
        await world.undone(f"k{n}", look_again_s=0)
    await world.pass_time(0.01)
    assert len(await world.store.uploads.due(limit=2)) == 2


async def test_forget_drops_a_tombstone(world: World):
    upload = await world.undone()
    await world.store.uploads.forget(upload.ref.id)
    assert await world.store.uploads.get(upload.ref.id) is None


@pytest.mark.parametrize("state", [OPEN, COMPLETING, COMMITTED, UNDOING])
async def test_forget_leaves_everything_else(world: World, state: UploadState):
    upload = await world.in_state(state)
    await world.store.uploads.forget(upload.ref.id)
    assert await world.read(upload) == upload


async def test_forget_committed_drops_old_entries_without_leftovers(world: World):
    ledger = world.store.uploads
    uploads = [await world.commit(await world.completing(f"k{n}")) for n in range(3)]
    kept = await world.put_with_leftover("leftover")
    undone = await world.undone("undone")
    await world.pass_time(0.02)
    assert await ledger.forget_committed(older_than_s=60, limit=10) == 0
    assert await ledger.forget_committed(older_than_s=0.01, limit=2) == 2
    assert await ledger.forget_committed(older_than_s=0.01, limit=2) == 1
    assert await ledger.forget_committed(older_than_s=0.01, limit=2) == 0
    assert [await ledger.get(upload.ref.id) for upload in uploads] == [None] * 3
    assert await world.read(kept) == kept
    assert await world.read(undone) == undone
    await ledger.cleaned(kept.ref.id, look_again_s=None)
    assert await ledger.forget_committed(older_than_s=0.01, limit=2) == 1


async def test_count_tells_how_many_uploads_are_in_each_state(world: World):
    for state in ALL_STATES:
        await world.in_state(state)
    await world.opened()
    counted = {state: n for state, n in (await world.store.uploads.count()).items() if n}
    assert counted == dict.fromkeys(ALL_STATES, 1) | {OPEN: 2}


async def test_preconditions_survive_the_ledger(world: World):
    upload = await world.opened(preconditions=only_if("$x"), facts=TRICKY_FACTS)
    assert (await world.read(upload)).intent.preconditions == only_if("$x")
    other = await world.opened(preconditions=CREATE_ONLY)
    assert (await world.read(other)).intent.preconditions == CREATE_ONLY
