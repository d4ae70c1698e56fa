"""Rebuilding on stores in memory: what is there again, what is told, who is kept out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.errors import BlobMissing, Conflict, NotFound
from service.model.api_key import ApiKey, Scope
from service.model.bucket import BucketSettings, Delivery
from service.model.ids import DEFAULT_TENANT, KeyId, new_id
from service.model.preconditions import Preconditions
from service.model.version import ObjectFacts
from service.stores.blob_layout import new_blob_key
from service.usecases.change_metadata import FactsPatch, change_metadata
from service.usecases.delete_object import delete_object
from service.usecases.rebuild import RebuildReport, rebuild
from service.usecases.runtime import Runtime
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put
from tests.usecases.journal_world import Crash, journal_keys, publish, struck
from tests.usecases.test_compact_journal import compact

FACTS = ObjectFacts("video/mp4", filename="é.mp4", user_metadata={"a": "é"}, tags={"t": "1"})


def after_the_loss(runtime: Runtime, old: FakeMetadata) -> tuple[Runtime, FakeMetadata]:
    """The same store of bytes, an empty database, and its clock a little later."""
    empty = FakeMetadata()
    empty.clock.now = old.clock.now + timedelta(minutes=1)
    return replace(runtime, metadata=empty), empty


async def rebuilt(runtime: Runtime) -> tuple[RebuildReport, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    report = await rebuild(runtime, told.append)
    assert report.unplaced == len(told)
    return report, told


async def latest(metadata: FakeMetadata, key: str) -> Any:
    bucket = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert bucket is not None
    return await metadata.versions.get_latest(DEFAULT_TENANT, bucket.id, key)


async def test_everything_is_there_again(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    kept = (await put(b"kept", "kept", facts=FACTS)).version
    await put(b"old", "over")
    over = (await put(b"new!", "over")).version
    await put(b"gone", "gone")
    await delete_object(runtime, DEFAULT_TENANT, "films", "gone", Preconditions())
    films = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert films is not None
    chosen = BucketSettings(1 << 40, ("video/*",), "no-store", Delivery.REDIRECT)
    changed = await metadata.buckets.update(DEFAULT_TENANT, films.id, chosen, revision=1)
    now = await metadata.now()
    key = ApiKey(KeyId(new_id()), DEFAULT_TENANT, "k", b"\x01" * 32, frozenset(Scope), now)
    await metadata.keys.create(key)
    await metadata.keys.revoke(DEFAULT_TENANT, key.id)
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert (report.objects, report.buckets, report.keys) == (2, 1, 1)
    assert report.whole
    assert told == []
    assert report.strays == 2
    assert len(await empty.audits.quarantined(found_before_s=0, limit=9)) == 2
    assert await empty.buckets.get(DEFAULT_TENANT, "films") == changed
    assert await latest(empty, "kept") == kept
    assert await latest(empty, "over") == over
    assert await latest(empty, "gone") is None
    assert await empty.keys.get(key.id) == await metadata.keys.get(key.id)


async def test_the_newest_facts_are_there_again(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    """Of changes in the same object of the journal and in a later one."""
    for key, publish_between in (("one", False), ("two", True)):
        await put(b"kept", key, facts=FACTS)
        if publish_between:
            await publish(runtime)
        for patch in ({"tags": {"t": "2", "u": "3"}}, {"filename": None, "tags": {"t": None}}):
            changed = await change_metadata(
                runtime, DEFAULT_TENANT, "films", key, FactsPatch(patch), Preconditions()
            )
        assert (changed.facts.filename, changed.facts.tags) == (None, {"u": "3"})
    await put(b"gone", "gone")
    patch = FactsPatch({"filename": "x"})
    await change_metadata(runtime, DEFAULT_TENANT, "films", "gone", patch, Preconditions())
    await delete_object(runtime, DEFAULT_TENANT, "films", "gone", Preconditions())
    await publish(runtime)
    before = [await latest(metadata, key) for key in ("one", "two", "gone")]
    runtime, empty = after_the_loss(runtime, metadata)
    assert (await rebuilt(runtime))[0].whole
    assert [await latest(empty, key) for key in ("one", "two", "gone")] == before
    assert before[0].revision == 3


async def test_it_goes_on_after_the_old_positions_and_epochs(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"one", "a")
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    await rebuilt(runtime)
    await empty.buckets.create(DEFAULT_TENANT, "music", BucketSettings())
    assert await publish(runtime) == 1
    first, second = journal_keys(blobs)
    assert int(second[8:28]) > int(first[8:28])
    assert second[29] == "2"


async def test_a_database_with_anything_in_it_is_refused(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    version = (await put(b"one", "a")).version
    await publish(runtime)
    with pytest.raises(Conflict):
        await rebuilt(runtime)
    assert await latest(metadata, "a") == version


async def test_a_bucket_without_a_journal_is_refused(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    runtime, empty = after_the_loss(runtime, metadata)
    with pytest.raises(NotFound):
        await rebuilt(runtime)
    await empty.start()


async def test_what_cannot_be_put_back_is_told_and_its_name_stays_in_order(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    whole, missing, short, other = [
        (await put(b"12345", name)).version for name in ("whole", "missing", "short", "other")
    ]
    await publish(runtime)
    del blobs.blobs[missing.blob_key]
    blobs.blobs[short.blob_key] = b"1234"
    blobs.blobs[other.blob_key] = b"54321"
    stray = new_blob_key(DEFAULT_TENANT)
    blobs.blobs[stray] = b"?"
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    assert (report.objects, report.unplaced, report.strays) == (1, 3, 3)
    assert not report.whole
    assert {each["key"]: each["reason"] for each in told} == {
        "missing": "its blob is missing",
        "short": "its blob has 4 bytes",
        "other": "its blob has another CRC64NVME",
    }
    assert await latest(empty, "whole") == whole
    assert await latest(empty, "short") is None
    place = (short.tenant, short.bucket_id, "short")
    assert await empty.versions.current_seq(*place) == short.seq
    stored = await put_in(runtime, b"again", "short")
    assert stored.seq > short.seq


async def put_in(runtime: Runtime, data: bytes, key: str) -> Any:
    from service.usecases.put_object import PutRequest, put_object
    from tests.usecases.conftest import chunked

    request = PutRequest(DEFAULT_TENANT, "films", key)
    return (await put_object(runtime, request, chunked(data))).version


async def test_a_damaged_journal_object_is_told_and_the_rest_is_there(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await publish(runtime)
    await put(b"one", "a")
    await publish(runtime)
    await put(b"two", "b")
    await publish(runtime)
    broken = journal_keys(blobs)[1]
    blobs.blobs[broken] = blobs.blobs[broken][:40]
    runtime, empty = after_the_loss(runtime, metadata)
    report, _ = await rebuilt(runtime)
    assert report.damaged_journal_objects == [broken]
    assert not report.whole
    assert (report.objects, report.strays) == (1, 1)
    assert await latest(empty, "b") is not None


async def test_an_interrupted_rebuild_keeps_services_out_and_begins_anew(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    version = (await put(b"one", "a")).version
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    for step in ("add", "finish"):
        for before in (True, False):
            with struck(empty.restoring, step, before=before, error=Crash), pytest.raises(Crash):
                await rebuilt(runtime)
    await empty.start()
    assert await latest(empty, "a") == version


async def test_a_compaction_in_between_makes_it_begin_again(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    for number in range(8):
        await put(b"x", f"k{number}")
        await publish(runtime)
    old = runtime
    runtime, empty = after_the_loss(runtime, metadata)
    whole = empty.restoring.begin

    async def begin() -> None:
        empty.restoring.begin = whole
        await compact(old)
        await whole()

    empty.restoring.begin = begin
    report, _ = await rebuilt(runtime)
    assert (report.objects, report.strays) == (8, 0)


async def test_a_journal_that_never_stands_still_is_given_up(
    runtime: Runtime, blobs: FakeBlobStore, metadata: FakeMetadata, put: Put
) -> None:
    await put(b"x", "a")
    await publish(runtime)
    runtime, _ = after_the_loss(runtime, metadata)

    def gone(*_: object) -> None:
        raise BlobMissing

    blobs.read = gone
    with pytest.raises(Conflict, match="stop it first"):
        await rebuilt(runtime)


async def test_of_two_buckets_of_one_name_the_newer_is_put_back(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    """The removal of the older one was not published any more when the database was lost."""
    await publish(runtime)
    old = await metadata.buckets.get(DEFAULT_TENANT, "films")
    assert old is not None
    metadata.clock.advance(1)
    nonce = await metadata.buckets.begin_delete(DEFAULT_TENANT, old.id)
    await metadata.buckets.remove(DEFAULT_TENANT, old.id, nonce)
    metadata.replica.local.pending.clear()
    new = await metadata.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    _, told = await rebuilt(runtime)
    assert await empty.buckets.get(DEFAULT_TENANT, "films") == new
    assert [each["bucket_id"] for each in told] == [old.id]


async def test_two_rebuilds_at_once_are_kept_apart(
    runtime: Runtime, metadata: FakeMetadata
) -> None:
    await publish(runtime)
    runtime, empty = after_the_loss(runtime, metadata)
    assert await empty.leases.acquire("rebuild", "another", 60)
    with pytest.raises(Conflict, match="under way"):
        await rebuilt(runtime)
