"""All metadata, from any engine into any other: the same afterwards, and at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymongo
import pytest
from metadata_engines import CREATE_ONLY, TENANT, World, fresh_key, named, only_if
from test_outbox import api_key, leader

from service.errors import Conflict, SchemaMismatch
from service.model.audit import Progress, Stray
from service.model.bucket import BucketSettings
from service.model.ids import BlobKey, JobId, MultipartId, new_id
from service.model.job import JobState
from service.model.records import RecordKind
from service.model.resumable import Piece, ResumableTerms, Span
from service.model.resumable import Progress as UploadProgress
from service.model.search import Sort, Wanted
from service.model.upload import Part
from service.protocol.terms import tag_term
from service.settings import Metadata
from service.stores.engines import open_metadata, open_records
from service.stores.record_port import RecordStore
from service.usecases.copy_metadata import Copied, copy_metadata

PAIRS = [("mongo", "sqlite"), ("sqlite", "mongo"), ("sqlite", "sqlite"), ("mongo", "mongo")]


@pytest.fixture
def settings_of(tmp_path: Path, mongo_settings: Metadata) -> Any:
    """Engine and name -> settings of a database of its own."""

    def make(engine: str, name: str) -> Metadata:
        if engine == "sqlite":
            return Metadata(url=f"sqlite:///{tmp_path}/{name}.sqlite3", timeout_s=10)
        return mongo_settings.model_copy(
            update={"database": f"{mongo_settings.database}-{name}", "timeout_s": 10}
        )

    yield make
    with pymongo.MongoClient(mongo_settings.url.get_secret_value()) as client:
        for name in ("source", "target"):
            client.drop_database(f"{mongo_settings.database}-{name}")


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Metadata], Any]]:
    """Settings -> the engine as records, open until the end of the test."""
    made: list[RecordStore] = []

    async def open_(chosen: Metadata) -> RecordStore:
        store = open_records(chosen)
        await store.open()
        made.append(store)
        return store

    yield open_
    for store in made:
        await store.close()


def resumable_progress(span: Span, key: BlobKey) -> UploadProgress:
    piece = Piece(key, 9, bytes(range(8)))
    return UploadProgress(99, 25, (piece,), span, piece, working=True, sniffed_type="$a/b")


async def fill(chosen: Metadata) -> None:
    """Something of every kind, in every state."""
    store = open_metadata(chosen)
    await store.start()
    world = await World(store, asyncio.sleep).open()
    kept = await world.keeping()
    for each in (world, kept):
        await each.put("a")
        await each.put("a")
        await each.put("gone")
        await each.delete("gone")
    await kept.set_versioning(False)
    await kept.put("a")
    await world.put_with_leftover("left")
    await world.opened("open", idempotency=named(), preconditions=CREATE_ONLY)
    multipart = await world.opened("parts", preconditions=only_if("$x"), declared_size_bytes=7)
    await store.uploads.save_multipart(multipart.ref, multipart.intent.blob_key, MultipartId("m"))
    await world.completing("completing")
    resumable = await world.opened("resumable", resumable=ResumableTerms("$who", told_metadata="é"))
    span = Span(fresh_key(), MultipartId("m"), await store.now(), 7, bytes(8), 3)
    progress = resumable_progress(span, fresh_key())
    parts = [Part(1, 5, '"e"', b"12345678"), Part(3, 2, '"f"')]
    await store.resumables.save(resumable.ref, progress, parts=parts)
    await world.undoing("undoing")
    await world.undone("undone")
    key = await api_key(world)
    await store.keys.revoke(TENANT, key.id)
    await api_key(world)
    version = await world.put("damaged")
    assert await store.audits.mark_damaged(version.id, damaged=True)
    publisher = await leader(world)
    batch = await store.outbox.claim(publisher, limit=5)
    await store.outbox.published(publisher, batch)
    await store.audits.quarantine([Stray(fresh_key()), Stray(fresh_key(), MultipartId("?m"))])
    now = await store.now()
    progress = Progress(began_at=now, counts={"$x.y": 3}, position="p", reading=fresh_key())
    await store.audits.save_progress("auditor", replace(progress, crc64nvme=b"\x01" * 8))
    for number in range(2):
        await store.jobs.create(JobId(new_id()), *world.place, f"$prefix{number}")
    job = await store.jobs.take("$owner", 60)
    assert job is not None
    await store.jobs.advance(replace(job, cursor="$c", deleted=4), "$owner", 60)
    other = await store.jobs.take("$other", 60)
    assert other is not None
    await store.jobs.finish(replace(other, failed=1), "$other", JobState.FAILED)
    doomed = await store.buckets.create(TENANT, "doomed", BucketSettings())
    await store.buckets.begin_delete(TENANT, doomed.id)
    await store.close()


@pytest.mark.parametrize(("source", "target"), PAIRS)
async def test_everything_is_the_same_in_the_other_engine_and_goes_on(
    settings_of: Any, opened: Any, source: str, target: str
):
    before, after = settings_of(source, "source"), settings_of(target, "target")
    await fill(before)
    told: list[Copied] = []
    await copy_metadata(await opened(before), await opened(after), told.append)
    assert [each.kind for each in told] == list(RecordKind)
    assert all(each.records for each in told), told
    stores = [open_metadata(chosen) for chosen in (before, after)]
    for store in stores:
        await store.start()
    seen = [await look(store) for store in stores]
    assert seen[0] == seen[1]
    world = World(stores[1], asyncio.sleep)
    world.bucket = await stores[1].buckets.get(TENANT, "films")
    old = await world.latest("a")
    assert old is not None
    new = await world.put("a", preconditions=only_if(old.id))
    assert new.seq > old.seq
    assert await stores[1].uploads.admit(world.intent(idempotency=named()), "o", 60) is not None
    for store in stores:
        await store.close()


async def look(store: Any) -> list[Any]:
    """What a service would find there."""
    found: list[Any] = []
    for name in ("films", "kept"):
        bucket = await store.buckets.get(TENANT, name)
        place = (TENANT, bucket.id)
        everything = {"prefix": "", "start": "", "inclusive": True, "limit": 100}
        found += [bucket, await store.versions.scan(*place, **everything)]
        for key in ("a", "gone", "left", "damaged"):
            history = {"before_seq": None, "limit": 10}
            found.append(await store.versions.history(*place, key, **history))
            found.append(await store.versions.current_seq(*place, key))
        wanted = Wanted(terms=(tag_term("$eq", "$b"),))
        searched = {"after": None, "limit": 100, "max_examined": 1000}
        found.append(await store.versions.search(*place, wanted, Sort(), **searched))
        undoable = await store.uploads.undoable_in(*place, limit=100)
        found.append(sorted(undoable, key=lambda upload: upload.ref.id))
    for upload in await store.resumables.unfinished(TENANT, "$who", after="", limit=9):
        found.append(await store.uploads.get(upload.ref.id))
        assert found[-1].parts
    backlog = await store.outbox.backlog()
    found += [backlog.pending, backlog.epoch, backlog.position]
    found += [await store.uploads.count(), await store.uploads.due(limit=100)]
    found += [
        await store.audits.claims(after="", limit=100),
        await store.audits.progress("auditor"),
    ]
    found.append(await store.audits.quarantined(found_before_s=-60, limit=10))
    found.append(await store.keys.list(TENANT, after="", limit=10))
    found.append(await store.versions.dead(older_than_s=-60, limit=100))
    return found


class CutOff(Exception):
    """By the test."""


@pytest.mark.parametrize(("source", "target"), PAIRS[:2])
async def test_a_copy_that_is_cut_off_keeps_services_away_and_is_ended_by_the_next(
    settings_of: Any,
    opened: Any,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    target: str,
):
    monkeypatch.setattr("service.usecases.copy_metadata.AT_ONCE", 2)
    before, after = settings_of(source, "source"), settings_of(target, "target")
    await fill(before)
    there, here = await opened(before), await opened(after)
    write, writes = here.write, 0

    async def cut_off(*given: Any) -> None:
        nonlocal writes
        writes += 1
        await write(*given)
        if writes == 4:
            raise CutOff

    monkeypatch.setattr(here, "write", cut_off)
    with pytest.raises(CutOff):
        await copy_metadata(there, here, lambda _: None)
    service = open_metadata(after)
    with pytest.raises(SchemaMismatch, match="mediagate metadata copy"):
        await service.start()
    await service.close()
    await copy_metadata(there, here, lambda _: None)
    assert writes > 10
    whole = open_metadata(after)
    await whole.start()
    await whole.close()


async def test_a_target_with_anything_in_it_is_refused(settings_of: Any, opened: Any):
    for engine in ("mongo", "sqlite"):
        chosen = settings_of(engine, "target")
        store = open_metadata(chosen)
        await store.start()
        await store.buckets.create(TENANT, "films", BucketSettings())
        await store.close()
        with pytest.raises(Conflict, match="the target is not empty: something is in 'buckets'"):
            await (await opened(chosen)).begin_filling()


async def test_a_source_that_changes_meanwhile_is_found_out(
    settings_of: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
):
    before, after = settings_of("sqlite", "source"), settings_of("sqlite", "target")
    await fill(before)
    there, here = await opened(before), await opened(after)
    last = here.last

    async def change_then_last(kind: RecordKind) -> str:
        if kind is RecordKind.PROGRESS:
            service = open_metadata(before)
            await service.start()
            await service.buckets.create(TENANT, "meanwhile", BucketSettings())
            await service.close()
        return await last(kind)

    monkeypatch.setattr(here, "last", change_then_last)
    with pytest.raises(Conflict, match="buckets differ after the copy: 4 and 3"):
        await copy_metadata(there, here, lambda _: None)
