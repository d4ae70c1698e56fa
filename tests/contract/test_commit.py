"""The commit transaction: what every engine promises (service/stores/ports.py, UploadLedger)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from metadata_engines import (
    CREATE_ONLY,
    TRICKY,
    TRICKY_FACTS,
    World,
    completion,
    dead,
    fresh_key,
    named,
    only_if,
)

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    Conflict,
    Fenced,
    MediagateError,
    PreconditionFailed,
)
from service.model.upload import UploadState, UsedKey
from service.model.version import Version


@pytest.fixture(params=["completing", "whole"], autouse=True)
def way(world: World, request: pytest.FixtureRequest) -> str:
    """Every promise holds for both: from `completing`, and from `open` with a whole blob."""
    world.whole = request.param == "whole"
    return str(request.param)


async def outcomes(calls: list[Awaitable[Any]]) -> tuple[list[Any], list[BaseException]]:
    """What succeeded and what raised an error of ours."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, MediagateError):
            raise result
    failed = [result for result in results if isinstance(result, BaseException)]
    return [result for result in results if not isinstance(result, BaseException)], failed


async def dead_versions(world: World) -> list[Version]:
    await world.pass_time(0.01)
    return await world.store.versions.dead(older_than_s=0, limit=1000)


async def test_a_commit_makes_the_version_visible_with_all_its_facts(world: World):
    upload = await world.ready(TRICKY)
    assert await world.latest(TRICKY) is None
    before = await world.store.now()
    committed = await world.commit(upload)
    version = await world.latest(TRICKY)
    assert version == committed.version()
    assert version.id == upload.intent.version_id
    assert version.blob_key == upload.intent.blob_key
    assert version.facts == TRICKY_FACTS
    assert version.digests == completion().digests
    assert version.size_bytes == completion().size_bytes
    assert version.created_at == version.modified_at == committed.committed_at
    assert before <= version.created_at <= await world.store.now()
    assert (version.revision, version.latest) == (1, True)
    assert await world.store.versions.get(*world.place, TRICKY, version.id) == version


async def test_a_commit_settles_the_upload(world: World):
    upload = await world.ready()
    committed = await world.commit(upload)
    assert committed.state is UploadState.COMMITTED
    assert committed.ref == upload.ref
    assert committed.lease_until is None
    assert committed.leftovers == ()
    assert committed.clean_at is None
    assert await world.read(upload) == committed


async def test_keys_other_than_the_blobs_become_leftovers(world: World):
    upload = await world.opened()
    lost = upload.intent.blob_key
    await world.store.uploads.switch_key(upload.ref, fresh_key())
    await world.store.uploads.complete(upload.ref, completion(), 60)
    committed = await world.commit(await world.read(upload))
    assert committed.leftovers == (UsedKey(lost),)
    assert committed.clean_at is not None
    assert await world.latest() == committed.version()


async def test_seq_follows_the_databases_clock(world: World):
    before = await world.store.now()
    version = await world.put()
    after = await world.store.now()
    assert int(before.timestamp() * 1000) <= version.seq <= int(after.timestamp() * 1000)


async def test_an_overwrite_ends_the_old_version(world: World):
    old = await world.put()
    upload = await world.commit(await world.ready())
    new = upload.version()
    assert upload.replaced
    assert new.seq > old.seq
    assert await world.latest() == new
    assert await world.store.versions.get(*world.place, "k", old.id) is None
    assert await dead_versions(world) == [dead(old)]


async def test_the_first_commit_of_a_key_replaces_nothing(world: World):
    await world.put("another")
    assert not (await world.commit(await world.ready())).replaced


async def test_a_commit_over_a_tombstone_comes_later_and_replaces_nothing(world: World):
    await world.put()
    await world.delete()
    seq = await world.store.versions.current_seq(*world.place, "k")
    upload = await world.commit(await world.ready())
    assert not upload.replaced
    assert upload.seq > seq
    assert await world.latest() == upload.version()
    await world.pass_time(0.01)
    assert await world.store.versions.forget_tombstones(older_than_s=0, limit=10) == 0


async def test_seq_grows_even_where_the_clock_stands_still(world: World):
    seqs = [(await world.put()).seq for _ in range(5)]
    assert seqs == sorted(set(seqs))


async def test_a_precondition_is_evaluated_again_at_the_commit(world: World):
    upload = await world.ready(preconditions=CREATE_ONLY)
    first = await world.put()
    with pytest.raises(PreconditionFailed):
        await world.commit(upload)
    assert await world.read(upload) == upload
    assert await world.latest() == first
    assert await dead_versions(world) == []


async def test_if_match_holds_while_its_version_is_the_latest(world: World):
    first = await world.put()
    one = await world.ready(preconditions=only_if(first.etag))
    two = await world.ready(preconditions=only_if(first.etag))
    second = (await world.commit(one)).version()
    with pytest.raises(PreconditionFailed):
        await world.commit(two)
    assert await world.latest() == second


async def test_if_match_fails_where_the_key_names_nothing(world: World):
    version = await world.put()
    upload = await world.ready(preconditions=only_if(version.etag))
    await world.delete()
    with pytest.raises(PreconditionFailed):
        await world.commit(upload)
    assert await world.latest() is None


async def test_create_only_may_follow_a_delete(world: World):
    await world.put()
    await world.delete()
    upload = await world.commit(await world.ready(preconditions=CREATE_ONLY))
    assert await world.latest() == upload.version()


async def test_a_deleting_bucket_takes_no_commit_until_it_is_reverted(world: World):
    upload = await world.ready()
    nonce = await world.store.buckets.begin_delete(*world.place)
    with pytest.raises(BucketDeleting):
        await world.commit(upload)
    assert await world.read(upload) == upload
    await world.store.buckets.revert_delete(*world.place, nonce)
    await world.commit(upload)


async def test_a_removed_bucket_takes_no_commit(world: World):
    upload = await world.ready()
    nonce = await world.store.buckets.begin_delete(*world.place)
    await world.store.buckets.remove(*world.place, nonce)
    with pytest.raises(BucketNotFound):
        await world.commit(upload)
    assert await world.read(upload) == upload


async def test_base_seq_lets_nothing_newer_be_overwritten(world: World):
    upload = await world.completing()
    newer = await world.put()
    with pytest.raises(Conflict):
        await world.commit(upload, base_seq=newer.seq - 1)
    assert await world.read(upload) == upload
    assert await world.latest() == newer
    await world.commit(upload, base_seq=newer.seq)


async def test_base_seq_counts_a_delete_as_newer(world: World):
    version = await world.put()
    upload = await world.completing()
    await world.delete()
    with pytest.raises(Conflict):
        await world.commit(upload, base_seq=version.seq)
    assert await world.latest() is None


async def test_base_seq_is_met_by_a_key_that_never_was(world: World):
    upload = await world.completing()
    assert (await world.commit(upload, base_seq=0)).version() == await world.latest()


@pytest.mark.parametrize("beginning", ["nothing", "a version", "a tombstone"])
@pytest.mark.timeout(60)
async def test_commits_of_one_key_at_once_come_one_after_the_other(world: World, beginning: str):
    before = [await world.put()] if beginning != "nothing" else []
    if beginning == "a tombstone":
        await world.delete()
    uploads = [await world.ready() for _ in range(20)]
    committed = await asyncio.gather(*(world.commit(upload) for upload in uploads))
    ordered = sorted(committed, key=lambda upload: upload.seq)
    assert len({upload.seq for upload in committed}) == 20
    assert [upload.replaced for upload in ordered] == [beginning == "a version"] + [True] * 19
    assert await world.latest() == ordered[-1].version()
    ended = {version.id for version in await dead_versions(world)}
    assert ended == {v.id for v in before} | {u.intent.version_id for u in ordered[:-1]}
    assert await world.keys() == ["k"]


@pytest.mark.timeout(60)
async def test_one_of_many_create_only_commits_wins(world: World):
    uploads = [await world.ready(preconditions=CREATE_ONLY) for _ in range(20)]
    won, lost = await outcomes([world.commit(upload) for upload in uploads])
    assert [type(error) for error in lost] == [PreconditionFailed] * 19
    assert await world.latest() == won[0].version()


async def test_one_of_many_commits_of_the_same_upload_wins(world: World):
    upload = await world.ready()
    won, lost = await outcomes([world.commit(upload) for _ in range(8)])
    assert len(won) == 1
    assert [type(error) for error in lost] == [Fenced] * 7
    assert await dead_versions(world) == []


@pytest.mark.timeout(60)
async def test_commit_and_fence_never_both_win(world: World):
    for n in range(12):
        key = f"k{n}"
        upload = await world.ready(key)
        taken, result = await asyncio.gather(
            world.store.uploads.fence(upload.ref.id, "fencer", 60),
            world.commit(upload),
            return_exceptions=True,
        )
        if isinstance(result, Fenced):
            assert taken is not None
            assert await world.latest(key) is None
        else:
            assert taken is None
            assert await world.latest(key) == result.version()


@pytest.mark.timeout(60)
async def test_commit_and_delete_at_once_have_an_order(world: World):
    for n in range(10):
        key = f"k{n}"
        first = await world.put(key)
        upload = await world.ready(key)
        deleted, committed = await asyncio.gather(world.delete(key), world.commit(upload))
        latest = await world.latest(key)
        if deleted == first:
            assert latest == committed.version()
            assert not committed.replaced
        else:
            assert deleted == committed.version()
            assert committed.replaced
            assert latest is None
        assert await world.store.versions.current_seq(*world.place, key) >= committed.seq


@pytest.mark.timeout(60)
async def test_a_bucket_proved_empty_stays_empty(world: World):
    """The steps of a bucket's deletion against commits under way: one side gives way."""
    uploads = [await world.ready(f"k{n}") for n in range(8)]

    async def empty_out() -> bool:
        await world.store.buckets.begin_delete(*world.place)
        for upload in await world.store.uploads.undoable_in(*world.place, limit=100):
            await world.store.uploads.fence(upload.ref.id, "deleter", 60)
        return not await world.store.versions.has_content(*world.place)

    commits = [world.commit(upload) for upload in uploads]
    empty, (won, lost) = await asyncio.gather(empty_out(), outcomes(commits))
    assert {type(error) for error in lost} <= {Fenced, BucketDeleting}
    assert empty == (not won)
    assert await world.store.versions.has_content(*world.place) == bool(won)


async def test_a_replayed_commit_keeps_its_first_facts(world: World):
    upload = await world.ready(idempotency=named())
    first = await world.commit(upload)
    await world.put()
    replayed = await world.opened(idempotency=named())
    assert replayed == first


async def test_a_whole_blob_is_committed_from_open_under_its_first_key_only(world: World):
    upload = await world.opened()
    await world.store.uploads.switch_key(upload.ref, fresh_key())
    for stale in (upload, await world.completing("other")):
        with pytest.raises(Fenced):
            await world.store.uploads.commit_whole(stale, completion(), deadline_s=8)
    assert await world.keys() == []


async def test_a_whole_blob_is_not_committed_by_an_owner_that_was_taken_over(world: World):
    upload = await world.opened(lease_s=0.01)
    await world.pass_time(0.05)
    assert await world.store.uploads.take_over(upload.ref.id, "sweeper", 60) is not None
    with pytest.raises(Fenced):
        await world.store.uploads.commit_whole(upload, completion(), deadline_s=8)
    assert await world.keys() == []


async def test_a_committed_upload_is_forgotten_in_time(world: World):
    upload = await world.commit(await world.ready())
    await world.pass_time(0.05)
    assert await world.store.uploads.expired(limit=10) == []
    assert await world.store.uploads.forget_committed(older_than_s=0, limit=10) == 1
    assert await world.store.uploads.get(upload.ref.id) is None
