"""The auditor on stores in memory: the four kinds of drift, what is left alone, quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.errors import StoreUnavailable
from service.model.audit import Drift, Finding
from service.model.ids import DEFAULT_TENANT, BlobKey, MultipartId
from service.model.preconditions import Preconditions
from service.settings import MIB, Audit
from service.stores.blob_layout import new_blob_key
from service.usecases.audit import AuditReport, audit
from service.usecases.delete_object import delete_object
from service.usecases.put_object import PutRequest, PutResult, put_object
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put, some_bytes

GRACE_S, QUARANTINE_S = 100, 1000
LATER_S = GRACE_S + 1
OTHER_CRC = b"other 10 b"


@pytest.fixture
def blobs(metadata: FakeMetadata) -> FakeBlobStore:
    return FakeBlobStore(clock=metadata.clock)


@pytest.fixture
async def runtime(runtime: Runtime) -> Runtime:
    """Small batches, so that every test crosses several."""
    chosen = Audit(grace_s=GRACE_S, quarantine_s=QUARANTINE_S, batch=3)
    return replace(runtime, settings=runtime.settings.model_copy(update={"audit": chosen}))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.usecases.patience.PAUSE_S", 0)


async def put_many(put: Put, count: int, name: str = "file") -> list[PutResult]:
    return [await put(b"0123456789", f"{name}/{number}") for number in range(count)]


async def drift(runtime: Runtime) -> dict[str, int]:
    report = await audit(runtime)
    return {kind: count for kind, count in report.drift().items() if count}


async def clean_up(runtime: Runtime) -> AuditReport:
    return await audit(runtime, fix_strays=True)


async def test_stores_that_agree_have_no_drift(
    runtime: Runtime, metadata: FakeMetadata, put: Put
) -> None:
    await put_many(put, 10)
    metadata.clock.advance(LATER_S)
    report = await audit(runtime)
    assert (report.versions, report.blobs) == (10, 10)
    assert not any(report.drift().values())


async def test_the_four_kinds_are_counted_exactly(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    files = await put_many(put, 20)
    for result in files[:4]:
        del blobs.blobs[result.version.blob_key]
    for result in files[4:9]:
        blobs.blobs[result.version.blob_key] += b"!"
    strays = [new_blob_key(DEFAULT_TENANT) for _ in range(6)]
    for key in strays:
        blobs.blobs[key] = b"stray"
    await blobs.create_multipart(new_blob_key(DEFAULT_TENANT))
    metadata.clock.advance(LATER_S)
    told: list[Finding] = []
    report = await audit(runtime, tell=told.append)
    assert report.drift() == {
        Drift.MISSING_BLOB: 4,
        Drift.SIZE_OR_DIGEST_DIFFERS: 5,
        Drift.STRAY_BLOB: 6,
        Drift.OPEN_MULTIPART_WITHOUT_ENTRY: 1,
    }
    assert len(told) == 16
    missing = {each.claim.key for each in told if each.claim and each.kind is Drift.MISSING_BLOB}
    assert missing == {f"file/{number}" for number in range(4)}
    assert {f.blob_key for f in told if f.kind is Drift.STRAY_BLOB} == set(strays)
    text = runtime.metrics.render().decode()
    assert 'mediagate_audit_findings{kind="stray_blob"} 6.0' in text


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
async def test_any_batch_finds_the_same(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put, batch: int
) -> None:
    files = await put_many(put, 12)
    for result in files[::2]:
        del blobs.blobs[result.version.blob_key]
    for _ in range(9):
        blobs.blobs[new_blob_key(DEFAULT_TENANT)] = b"stray"
    metadata.clock.advance(LATER_S)
    settings = runtime.settings.audit.model_copy(update={"batch": batch})
    runtime = replace(runtime, settings=runtime.settings.model_copy(update={"audit": settings}))
    assert await drift(runtime) == {Drift.MISSING_BLOB: 6, Drift.STRAY_BLOB: 9}


async def test_all_blobs_gone_and_all_metadata_gone(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    await put_many(put, 7)
    metadata.clock.advance(LATER_S)
    kept = blobs.blobs.copy()
    blobs.blobs.clear()
    assert await drift(runtime) == {Drift.MISSING_BLOB: 7}
    blobs.blobs.update(kept)
    metadata.versions.versions.clear()
    metadata.uploads.uploads.clear()
    assert await drift(runtime) == {Drift.STRAY_BLOB: 7}


async def test_what_is_younger_than_the_grace_is_not_judged(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    metadata.clock.advance(LATER_S)
    (result,) = await put_many(put, 1)
    del blobs.blobs[result.version.blob_key]
    stray = new_blob_key(DEFAULT_TENANT)
    blobs.blobs[stray], blobs.modified[stray] = b"stray", metadata.clock.now
    await blobs.create_multipart(new_blob_key(DEFAULT_TENANT))
    assert await drift(runtime) == {}
    metadata.clock.advance(LATER_S)
    assert sum((await drift(runtime)).values()) == 3


async def test_uploads_in_flight_are_never_reported_whatever_their_age(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore
) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield some_bytes(12 * MIB)
        await go_on.wait()
        yield b"end"

    uploads = [
        asyncio.create_task(
            put_object(runtime, PutRequest(DEFAULT_TENANT, "films", f"slow/{number}"), slow())
        )
        for number in range(2)
    ]
    while len(blobs.multiparts) < 2:
        await asyncio.sleep(0)
    # A small object in the store whose upload is not committed yet.
    upload = next(iter(metadata.uploads.uploads.values()))
    blobs.blobs[upload.intent.blob_key] = b"complete, not committed"
    metadata.clock.advance(10 * LATER_S)
    assert await drift(runtime) == {}
    del blobs.blobs[upload.intent.blob_key]
    go_on.set()
    for upload_task in uploads:
        await upload_task
    metadata.clock.advance(10 * LATER_S)
    assert await drift(runtime) == {}


async def test_a_commit_between_the_two_lists_is_no_drift(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The blob is in the store's list, its version in none: it is committed just then."""
    claims = metadata.audits.claims

    async def stale(*, after: str, limit: int) -> object:
        found = await claims(after=after, limit=limit)
        if not metadata.versions.versions:
            await put(b"0123456789")
            metadata.clock.advance(LATER_S)
        return found

    monkeypatch.setattr(metadata.audits, "claims", stale)
    assert await drift(runtime) == {}


async def test_an_overwrite_between_the_two_lists_is_no_drift(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (old,) = await put_many(put, 1)
    metadata.clock.advance(LATER_S)
    claims = metadata.audits.claims

    async def stale(*, after: str, limit: int) -> object:
        found = await claims(after=after, limit=limit)
        if old.version.blob_key in blobs.blobs:
            await put(b"new", "file/0")
            metadata.clock.advance(1001)
            await sweep(runtime)
        return found

    async def fresh(prefix: str, *, after: str, limit: int) -> object:
        while old.version.blob_key in blobs.blobs:
            await asyncio.sleep(0)
        return await scan(prefix, after=after, limit=limit)

    scan = blobs.scan
    monkeypatch.setattr(metadata.audits, "claims", stale)
    monkeypatch.setattr(blobs, "scan", fresh)
    assert await drift(runtime) == {}


async def test_what_the_sweeper_removes_between_the_two_lists_is_no_drift(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await strays(blobs)
    await blobs.create_multipart(new_blob_key(DEFAULT_TENANT))
    metadata.clock.advance(LATER_S)
    owed = metadata.audits.owed

    async def removed_meanwhile(keys: set[BlobKey]) -> set[BlobKey]:
        blobs.blobs.clear()
        blobs.multiparts.clear()
        return await owed(keys)

    monkeypatch.setattr(metadata.audits, "owed", removed_meanwhile)
    assert await drift(runtime) == {}


async def test_blobs_of_dead_versions_and_of_tombstones_are_no_strays(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    files = await put_many(put, 4)
    await put(b"new", "file/0")
    await delete_object(runtime, DEFAULT_TENANT, "films", "file/1", Preconditions())
    del blobs.blobs[files[1].version.blob_key]  # the sweeper stopped in mid-step
    metadata.clock.advance(LATER_S)
    assert await drift(runtime) == {}


async def test_a_digest_is_judged_where_the_store_wrote_a_blob_again(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    files = await put_many(put, 3)
    metadata.clock.advance(LATER_S)
    for result in files[:2]:
        blobs.modified[result.version.blob_key] = metadata.clock.now
    blobs.blobs[files[0].version.blob_key] = OTHER_CRC
    assert await drift(runtime) == {Drift.SIZE_OR_DIGEST_DIFFERS: 1}


async def test_a_list_in_another_order_makes_no_finding(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put_many(put, 8)
    metadata.clock.advance(LATER_S)
    scan = blobs.scan

    async def incomplete(prefix: str, *, after: str, limit: int) -> object:
        return (await scan(prefix, after=after, limit=limit))[1:]

    monkeypatch.setattr(blobs, "scan", incomplete)
    assert await drift(runtime) == {}


async def test_a_store_that_hiccups_is_asked_again_and_one_that_is_down_ends_the_cycle(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (result,) = await put_many(put, 1)
    del blobs.blobs[result.version.blob_key]
    metadata.clock.advance(LATER_S)
    head, failures = blobs.head, iter([True])

    async def flaky(key: BlobKey) -> object:
        if next(failures, False):
            raise StoreUnavailable
        return await head(key)

    monkeypatch.setattr(blobs, "head", flaky)
    assert await drift(runtime) == {Drift.MISSING_BLOB: 1}
    failures = iter([True] * 100)
    with pytest.raises(StoreUnavailable):
        await audit(runtime)


# quarantine


async def strays(blobs: FakeBlobStore, count: int = 2) -> list[BlobKey]:
    keys = [new_blob_key(DEFAULT_TENANT) for _ in range(count)]
    for key in keys:
        blobs.blobs[key] = b"stray"
    return keys


async def test_strays_go_only_when_found_again_after_the_quarantine(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    await put_many(put, 5)
    await strays(blobs)
    multipart = await blobs.create_multipart(new_blob_key(DEFAULT_TENANT))
    metadata.clock.advance(LATER_S)
    await audit(runtime)
    metadata.clock.advance(QUARANTINE_S - 1)
    assert (await clean_up(runtime)).deleted == 0
    metadata.clock.advance(2)
    assert (await audit(runtime)).deleted == 0
    assert multipart in blobs.multiparts
    report = await clean_up(runtime)
    assert (report.deleted, report.failed, report.stray_blob) == (3, 0, 2)
    assert (len(blobs.blobs), len(blobs.multiparts)) == (5, 0)
    assert metadata.audits.strays == {}
    assert await drift(runtime) == {}


async def test_without_a_quarantine_time_it_still_takes_two_cycles(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    settings = runtime.settings.audit.model_copy(update={"quarantine_s": 0})
    runtime = replace(runtime, settings=runtime.settings.model_copy(update={"audit": settings}))
    await put_many(put, 5)
    await strays(blobs)
    metadata.clock.advance(LATER_S)
    assert (await clean_up(runtime)).deleted == 0
    metadata.clock.advance(1)
    assert (await clean_up(runtime)).deleted == 2


async def test_a_stray_that_was_away_for_a_cycle_starts_anew(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    await put_many(put, 5)
    (key,) = await strays(blobs, 1)
    metadata.clock.advance(LATER_S)
    await audit(runtime)
    del blobs.blobs[key]
    metadata.clock.advance(1)
    await audit(runtime)
    blobs.blobs[key] = b"back"
    metadata.clock.advance(QUARANTINE_S + 1)
    assert (await clean_up(runtime)).deleted == 0
    assert key in blobs.blobs


async def test_what_an_upload_uses_since_is_judged_again_before_it_goes(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a restore of metadata between the cycle and its end."""
    files = await put_many(put, 5)
    kept = metadata.versions.versions.pop(files[0].version.id)
    metadata.clock.advance(LATER_S)
    await audit(runtime)
    metadata.clock.advance(QUARANTINE_S + 1)
    release_unseen = metadata.audits.release_unseen

    async def restored(since: object) -> int:
        metadata.versions.versions[kept.id] = kept
        return await release_unseen(since)  # type: ignore[arg-type]

    monkeypatch.setattr(metadata.audits, "release_unseen", restored)
    assert (await clean_up(runtime)).deleted == 0
    assert kept.blob_key in blobs.blobs


async def test_nothing_is_deleted_where_strays_outnumber_versions(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    await put_many(put, 5)
    metadata.versions.versions.clear()
    metadata.uploads.uploads.clear()
    metadata.clock.advance(LATER_S)
    await audit(runtime)
    metadata.clock.advance(QUARANTINE_S + 1)
    report = await clean_up(runtime)
    assert (report.deleted, report.held_back, len(blobs.blobs)) == (0, 5, 5)


async def test_a_stray_that_cannot_be_deleted_is_left_for_the_next_cycle(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put_many(put, 5)
    stuck, _ = await strays(blobs)
    metadata.clock.advance(LATER_S)
    await audit(runtime)
    metadata.clock.advance(QUARANTINE_S + 1)
    delete = blobs.delete

    async def locked(key: BlobKey) -> None:
        if key != stuck:
            await delete(key)

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "delete", locked)
        report = await clean_up(runtime)
    assert (report.deleted, report.failed) == (1, 1)
    metadata.clock.advance(1)
    assert (await clean_up(runtime)).deleted == 1


async def test_a_multipart_beside_a_committed_blob_is_told_and_removed_alone(
    runtime: Runtime, metadata: FakeMetadata, blobs: FakeBlobStore, put: Put
) -> None:
    files = await put_many(put, 3)
    key = files[0].version.blob_key
    multipart: MultipartId = await blobs.create_multipart(key)
    metadata.clock.advance(LATER_S)
    assert await drift(runtime) == {Drift.OPEN_MULTIPART_WITHOUT_ENTRY: 1}
    metadata.clock.advance(QUARANTINE_S + 1)
    assert (await clean_up(runtime)).deleted == 1
    assert multipart not in blobs.multiparts
    assert key in blobs.blobs
