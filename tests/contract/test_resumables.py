"""Resumable uploads in the ledger: what every engine promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from metadata_engines import (
    DEADLINE_S,
    TENANT,
    TRICKY,
    WRONG_REFS,
    World,
    completion,
    fresh_key,
    named,
)

from service.errors import Conflict, Fenced
from service.model.ids import MultipartId, TenantId, UploadId, new_id
from service.model.resumable import Piece, Progress, ResumableTerms, Span, UploadKind
from service.model.upload import Part, Upload, UploadRef, UploadState, UsedKey

PRINCIPAL = "$key-1"
TERMS = ResumableTerms(
    PRINCIPAL,
    "$films",
    UploadKind.PARTIAL,
    told_metadata="$bucket ZmlsbXM=,é",
    told_concat="partial",
    expected_digests={"sha-256": bytes(32), "a.b": b"\0"},
    wanted_digests=frozenset({"md5", "$sha"}),
)
CRC = bytes(range(8))


def intent_of(world: World, **changes: Any) -> Any:
    return world.intent(**({"resumable": TERMS, "declared_size_bytes": 1 << 43} | changes))


async def begun(world: World, *, lease_s: float = 600, **changes: Any) -> Upload:
    return await world.store.uploads.admit(intent_of(world, **changes), "first", lease_s)


async def claimed(world: World, upload: Upload, owner: str = "next", offset: int = 0) -> Upload:
    found = await world.store.resumables.claim(upload.ref.id, owner, offset)
    assert found is not None
    return found


async def full_progress(world: World, key: str | None = None) -> Progress:
    span = Span(
        fresh_key(), MultipartId("$m"), await world.store.now(), 1 << 33, CRC, 7, of_copies=True
    )
    return Progress(
        length_bytes=1 << 43,
        offset=1 << 42,
        segments=(Piece(fresh_key(), 1 << 41, CRC), Piece(fresh_key(), 0, bytes(8))),
        span=span,
        tail=Piece(fresh_key(), 5, CRC),
        closed=False,
        working=True,
        base_seq=1 << 41,
        sniffed_type="$video/mp4",
    )


def part(number: int) -> Part:
    return Part(number, 5 << 20, f'"$etag{number}"', CRC if number % 2 else None)


async def test_an_admitted_upload_has_its_terms_and_no_byte(world: World):
    upload = await begun(world)
    assert upload.state is UploadState.OPEN
    assert upload.intent.resumable == TERMS
    assert upload.progress == Progress(length_bytes=1 << 43)
    assert upload.parts == ()
    assert await world.read(upload) == upload


async def test_an_upload_that_is_not_resumable_has_no_progress(world: World):
    assert (await world.opened()).progress is None


async def test_progress_is_read_back_as_it_was_saved(world: World):
    upload = await begun(world)
    progress = await full_progress(world)
    await world.store.resumables.save(upload.ref, progress, parts=[part(1), part(2)])
    found = await world.read(upload)
    assert (found.progress, found.parts) == (progress, (part(1), part(2)))
    plain = Progress(length_bytes=None, offset=7)
    await world.store.resumables.save(upload.ref, plain)
    assert (await world.read(upload)).progress == plain


async def test_parts_are_added_to_those_of_the_span_until_it_begins_anew(world: World):
    upload, ledger = await begun(world), world.store.resumables
    await ledger.save(upload.ref, Progress(offset=1), parts=[part(1)])
    await ledger.save(upload.ref, Progress(offset=2), parts=[part(2), part(5)])
    await ledger.save(upload.ref, Progress(offset=3))
    assert (await world.read(upload)).parts == (part(1), part(2), part(5))
    await ledger.save(upload.ref, Progress(offset=4), parts=[part(1)], anew=True)
    assert (await world.read(upload)).parts == (part(1),)
    await ledger.save(upload.ref, Progress(offset=5), anew=True)
    assert (await world.read(upload)).parts == ()


async def test_a_save_extends_the_lease_only_where_it_says_so(world: World):
    upload, ledger = await begun(world, lease_s=600), world.store.resumables
    await ledger.save(upload.ref, Progress(offset=1))
    assert (await world.read(upload)).lease_until == upload.lease_until
    await ledger.save(upload.ref, Progress(offset=1), lease_s=9_000)
    extended = (await world.read(upload)).lease_until
    assert extended is not None
    assert upload.lease_until is not None
    assert extended > upload.lease_until + timedelta(seconds=8_000)


# claim


async def test_a_claim_takes_over_whoever_works_at_it(world: World):
    upload = await begun(world)
    progress = replace(await full_progress(world), working=False)
    await world.store.resumables.save(upload.ref, progress, parts=[part(1)])
    found = await claimed(world, upload, offset=1 << 42)
    assert found.ref == UploadRef(upload.ref.id, 2, "next")
    assert found.progress == replace(progress, working=True)
    assert found.parts == (part(1),)
    assert found.lease_until == upload.lease_until
    assert await world.read(upload) == found
    with pytest.raises(Fenced):
        await world.store.resumables.save(upload.ref, Progress(offset=9))
    again = await claimed(world, upload, "third", 1 << 42)
    assert again.ref.epoch == 3


async def test_a_claim_at_another_offset_changes_nothing(world: World):
    upload = await begun(world)
    assert await world.store.resumables.claim(upload.ref.id, "next", 1, lease_s=9) is None
    assert await world.read(upload) == upload


async def test_a_claim_extends_the_lease_where_it_says_so(world: World):
    upload = await begun(world, lease_s=600)
    found = await world.store.resumables.claim(upload.ref.id, "next", 0, lease_s=9_000)
    assert found is not None
    assert found.lease_until is not None
    assert upload.lease_until is not None
    assert found.lease_until > upload.lease_until + timedelta(seconds=8_000)


async def test_nobody_claims_what_is_closed_expired_or_no_resumable_upload(world: World):
    claim = world.store.resumables.claim
    closed = await begun(world)
    await world.store.resumables.save(closed.ref, Progress(offset=0, closed=True))
    assert await claim(closed.ref.id, "next", 0) is None
    plain = await world.opened()
    assert await claim(plain.ref.id, "next", 0) is None
    assert await claim(UploadId(new_id()), "next", 0) is None
    undoing = await begun(world)
    await world.store.uploads.begin_undo(undoing.ref, 60)
    assert await claim(undoing.ref.id, "next", 0) is None
    expired = await begun(world, lease_s=0.01)
    await world.pass_time(0.05)
    assert await claim(expired.ref.id, "next", 0) is None
    assert (await world.read(expired)).ref == expired.ref


async def test_one_of_many_claims_at_once_is_the_last(world: World):
    upload = await begun(world)
    found = await asyncio.gather(
        *(world.store.resumables.claim(upload.ref.id, f"o{n}", 0) for n in range(8))
    )
    assert sorted(each.ref.epoch for each in found if each) == list(range(2, 10))
    holders = 0
    for each in found:
        assert each is not None
        try:
            await world.store.resumables.save(each.ref, Progress(offset=0))
        except Fenced:
            continue
        holders += 1
    assert holders == 1


# sealing


async def test_sealing_is_left_with_its_result(world: World):
    upload, ledger = await begun(world), world.store.resumables
    progress = replace(await full_progress(world), working=False)
    await ledger.save(upload.ref, progress, parts=[part(1)], state=UploadState.SEALING)
    sealing = await world.read(upload)
    assert sealing.state is UploadState.SEALING
    found = await claimed(world, upload, offset=1 << 42)
    assert found.state is UploadState.SEALING
    assert found.parts == (part(1),)
    sealed = replace(progress, span=None)
    await ledger.save(found.ref, sealed, anew=True)
    after = await world.read(upload)
    assert (after.state, after.progress, after.parts) == (UploadState.OPEN, sealed, ())


async def test_what_is_sealing_can_be_undone_and_expires(world: World):
    upload = await begun(world, lease_s=0.01)
    await world.store.resumables.save(upload.ref, Progress(), state=UploadState.SEALING)
    await world.pass_time(0.05)
    assert [u.ref for u in await world.store.uploads.expired(limit=9)] == [upload.ref]
    assert [u.ref for u in await world.store.uploads.undoable_in(*world.place, limit=9)] == [
        upload.ref
    ]
    taken = await world.store.uploads.take_over(upload.ref.id, "sweeper", 60)
    assert taken is not None
    assert taken.state is UploadState.SEALING
    undoing = await world.store.uploads.begin_undo(taken.ref, 60)
    assert undoing.state is UploadState.UNDOING


# keys


async def test_a_key_is_noted_before_it_is_used(world: World):
    upload, ledger = await begun(world), world.store.resumables
    key = fresh_key()
    with pytest.raises(Fenced):
        await ledger.use_key(upload.ref, key)
    await ledger.note_key(upload.ref, key)
    noted = await world.read(upload)
    assert noted.keys == (UsedKey(upload.intent.blob_key), UsedKey(key))
    assert noted.intent.blob_key == upload.intent.blob_key
    await ledger.use_key(upload.ref, key)
    used = await world.read(upload)
    assert used.intent.blob_key == key
    assert used.keys == noted.keys


async def test_retired_keys_are_a_tombstones(world: World):
    upload, ledger = await begun(world, idempotency=named()), world.store.resumables
    spent, multipart, kept = fresh_key(), fresh_key(), fresh_key()
    for key in (spent, multipart, kept):
        await ledger.note_key(upload.ref, key)
    await world.store.uploads.save_multipart(upload.ref, multipart, MultipartId("$m"))
    await ledger.retire(upload.ref, [spent, multipart], 0)
    left = await world.read(upload)
    assert [used.blob_key for used in left.keys] == [upload.intent.blob_key, kept]
    await world.pass_time(0.01)
    (tombstone,) = await world.store.uploads.due(limit=9)
    assert tombstone.state is UploadState.UNDONE
    assert tombstone.keys == (UsedKey(spent), UsedKey(multipart, MultipartId("$m")))
    assert tombstone.progress is None
    owed = await world.store.audits.owed({spent, multipart, kept})
    assert owed == {spent, multipart, kept}
    await world.store.uploads.forget(tombstone.ref.id)
    assert await world.store.audits.owed({spent}) == set()
    # And keys noted later do not collide with those that are left.
    await ledger.note_key(upload.ref, later := fresh_key())
    assert [used.blob_key for used in (await world.read(upload)).keys][-1] == later


# the end


async def test_a_commit_leaves_no_progress(world: World):
    upload, ledger = await begun(world), world.store.resumables
    await ledger.note_key(upload.ref, key := fresh_key())
    await ledger.save(upload.ref, await full_progress(world), parts=[part(1)])
    await ledger.use_key(upload.ref, key)
    ready = await world.read(upload)
    committed = await world.store.uploads.commit_whole(ready, completion(), deadline_s=DEADLINE_S)
    assert committed.state is UploadState.COMMITTED
    assert committed == await world.read(upload)
    assert (committed.progress, committed.parts, committed.lease_until) == (None, (), None)
    assert committed.intent.resumable == TERMS
    assert committed.version().blob_key == key
    assert committed.leftovers == (UsedKey(upload.intent.blob_key),)
    assert await ledger.unfinished(TENANT, PRINCIPAL, after="", limit=9) == []
    assert await ledger.aging(opened_before_s=-9, limit=9) == []


async def test_a_whole_commit_by_a_key_that_is_not_in_use_is_refused(world: World):
    upload, ledger = await begun(world), world.store.resumables
    await ledger.note_key(upload.ref, key := fresh_key())
    await ledger.use_key(upload.ref, key)
    with pytest.raises(Fenced):
        await world.store.uploads.commit_whole(upload, completion(), deadline_s=DEADLINE_S)


async def test_a_whole_commit_on_a_base_is_refused_by_anything_newer(world: World):
    upload = await begun(world)
    base_seq = await world.store.versions.current_seq(*world.place, "k")
    await world.put("k")
    with pytest.raises(Conflict):
        await world.store.uploads.commit_whole(
            upload, completion(), deadline_s=DEADLINE_S, base_seq=base_seq
        )
    assert (await world.read(upload)).state is UploadState.OPEN


async def test_undone_leaves_no_progress(world: World):
    upload = await begun(world)
    await world.store.resumables.save(upload.ref, await full_progress(world), parts=[part(1)])
    await world.store.uploads.begin_undo(upload.ref, 60)
    await world.store.uploads.finish_undo(upload.ref, 60)
    undone = await world.read(upload)
    assert (undone.progress, undone.parts) == (None, ())
    assert undone.intent.resumable == TERMS
    assert await world.store.resumables.unfinished(TENANT, PRINCIPAL, after="", limit=9) == []


# lists


async def test_one_lists_ones_own(world: World):
    ledger = world.store.resumables
    uploads = [await begun(world, key=f"{TRICKY}{n}") for n in range(3)]
    await ledger.save(uploads[1].ref, await full_progress(world), parts=[part(1)])
    await begun(world, resumable=replace(TERMS, principal="other"))
    await begun(world, tenant=TenantId("other"))
    await world.opened("plain")
    found = await ledger.unfinished(TENANT, PRINCIPAL, after="", limit=9)
    assert [upload.ref.id for upload in found] == sorted(upload.ref.id for upload in uploads)
    assert all(upload.parts == () for upload in found)
    first = found[0].ref.id
    rest = await ledger.unfinished(TENANT, PRINCIPAL, after=first, limit=1)
    assert [upload.ref.id for upload in rest] == [found[1].ref.id]


async def test_aging_finds_spans_by_their_age(world: World):
    ledger, now = world.store.resumables, await world.store.now()
    ages = {}
    for age_s in (100, 300, 200):
        upload = await begun(world)
        opened_at = now - timedelta(seconds=age_s)
        span = Span(upload.intent.blob_key, MultipartId("m"), opened_at)
        await ledger.save(upload.ref, Progress(span=span), parts=[part(1)])
        ages[age_s] = upload.ref.id
    await begun(world)
    found = await ledger.aging(opened_before_s=150, limit=9)
    assert [upload.ref.id for upload in found] == [ages[300], ages[200]]
    assert all(upload.parts == () for upload in found)
    assert len(await ledger.aging(opened_before_s=150, limit=1)) == 1
    await ledger.save((await world.read(found[0])).ref, Progress(), anew=True)
    found = await ledger.aging(opened_before_s=150, limit=9)
    assert [upload.ref.id for upload in found] == [ages[200]]


# the steps of an owner

Step = Callable[[World, Upload], Awaitable[object]]
STEPS: dict[str, Step] = {
    "note_key": lambda world, u: world.store.resumables.note_key(u.ref, fresh_key()),
    "use_key": lambda world, u: world.store.resumables.use_key(u.ref, u.intent.blob_key),
    "save": lambda world, u: world.store.resumables.save(u.ref, Progress(offset=99)),
    "retire": lambda world, u: world.store.resumables.retire(u.ref, [u.intent.blob_key], 0),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wrong", WRONG_REFS)
async def test_a_step_under_another_ref_changes_nothing(world: World, step: str, wrong: str):
    upload = await begun(world)
    with pytest.raises(Fenced):
        await STEPS[step](world, replace(upload, ref=WRONG_REFS[wrong](upload.ref)))
    assert await world.read(upload) == upload


@pytest.mark.parametrize("step", STEPS)
async def test_no_step_is_possible_once_undoing_is_won(world: World, step: str):
    upload = await begun(world)
    undoing = await world.store.uploads.begin_undo(upload.ref, 600)
    with pytest.raises(Fenced):
        await STEPS[step](world, undoing)
    assert await world.read(upload) == undoing


@pytest.mark.parametrize("step", ["note_key", "use_key", "retire"])
async def test_while_sealing_keys_stay_what_they_are(world: World, step: str):
    upload = await begun(world)
    await world.store.resumables.save(upload.ref, Progress(), state=UploadState.SEALING)
    before = await world.read(upload)
    with pytest.raises(Fenced):
        await STEPS[step](world, upload)
    assert await world.read(upload) == before
