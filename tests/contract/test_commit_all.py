"""The commit of several uploads at once: what every engine promises (UploadLedger.commit_all)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from metadata_engines import CREATE_ONLY, DEADLINE_S, OWNER, World, completion

from service.errors import BucketDeleting, Fenced, MediagateError, PreconditionFailed
from service.model.upload import Part, Staged, Upload, UploadState

IN_PARTS = replace(completion(), parts=(Part(1, 5, "etag"),))
IN_ONE = replace(completion(), parts=())


async def staged(world: World, key: str, *, parts: bool = False, **changes: object) -> Staged:
    upload = await world.opened(key, staged=True, **changes)
    assert upload.intent.staged
    if parts:
        await world.store.uploads.complete(upload.ref, IN_PARTS, 60)
    return Staged(upload, IN_PARTS if parts else IN_ONE)


async def commit_all(world: World, *uploads: Staged) -> list[Upload]:
    return await world.store.uploads.commit_all(uploads, deadline_s=DEADLINE_S)


async def states(world: World, *uploads: Staged) -> list[UploadState]:
    return [(await world.read(each.upload)).state for each in uploads]


async def test_all_become_visible_and_are_settled(world: World):
    old = await world.put("b")
    uploads = [await staged(world, "a", parts=True), await staged(world, "b")]
    committed = await commit_all(world, *uploads)
    assert [upload.replaced for upload in committed] == [False, True]
    for key, upload in zip("ab", committed, strict=True):
        assert await world.latest(key) == upload.version()
        assert await world.read(upload) == upload
    assert committed[1].seq is not None
    assert committed[1].seq > old.seq


async def test_one_that_is_refused_refuses_all(world: World):
    await world.put("c")
    uploads = [
        await staged(world, "a"),
        await staged(world, "b", parts=True),
        await staged(world, "c", preconditions=CREATE_ONLY),
    ]
    with pytest.raises(PreconditionFailed):
        await commit_all(world, *uploads)
    assert [await world.latest(key) for key in "ab"] == [None, None]
    assert await states(world, *uploads) == ["open", "completing", "open"]
    for each in uploads:
        await world.store.uploads.begin_undo(each.upload.ref, 60)


@pytest.mark.parametrize("parts", [False, True])
async def test_one_that_was_fenced_refuses_all(world: World, parts: bool):
    uploads = [await staged(world, "a"), await staged(world, "b", parts=parts)]
    assert await world.store.uploads.fence(uploads[1].upload.ref.id, OWNER, 60)
    with pytest.raises(Fenced):
        await commit_all(world, *uploads)
    assert [await world.latest(key) for key in "ab"] == [None, None]
    assert await states(world, *uploads) == ["open", "undoing"]


async def test_bucket_that_is_being_deleted_refuses_all(world: World):
    uploads = [await staged(world, "a"), await staged(world, "b")]
    await world.store.buckets.begin_delete(*world.place)
    with pytest.raises(BucketDeleting):
        await commit_all(world, *uploads)


async def test_committed_ones_are_not_committed_again(world: World):
    uploads = [await staged(world, "a"), await staged(world, "b")]
    await commit_all(world, *uploads)
    with pytest.raises(MediagateError):
        await commit_all(world, *uploads)
    assert await states(world, *uploads) == ["committed", "committed"]
