"""What the auditor may ask of the metadata: what every engine promises (stores/audit_port.py)."""

from __future__ import annotations

from dataclasses import replace

import pymongo
from metadata_engines import CREATE_ONLY, OTHER_TENANT, World, completion, fresh_key

from service.model.audit import Claim, Progress, Stray
from service.model.bucket import BucketSettings
from service.model.ids import BlobKey, MultipartId, VersionId, new_id
from service.model.version import Version
from service.settings import Metadata
from service.stores.blob_layout import new_blob_key


def claim_of(version: Version, **changes: bool) -> Claim:
    claim = Claim(
        version=version.id,
        tenant=version.tenant,
        bucket_id=version.bucket_id,
        key=version.key,
        blob_key=version.blob_key,
        size_bytes=version.size_bytes,
        crc64nvme=version.digests["crc64nvme"],
        created_at=version.created_at,
    )
    return replace(claim, **changes)


# claims


async def test_claims_are_those_of_all_versions_of_all_tenants_by_blob_key(world: World):
    audits = world.store.audits
    old = await world.put("a")
    new = await world.put("a")
    gone = await world.put("b")
    await world.delete("b")
    place = await world.store.buckets.create(OTHER_TENANT, "films", BucketSettings())
    elsewhere = {
        "tenant": OTHER_TENANT,
        "bucket_id": place.id,
        "blob_key": new_blob_key(OTHER_TENANT),
    }
    other = await world.put("c", **elsewhere)
    await world.opened("unfinished")
    expected = [
        claim_of(old, dead=True),
        claim_of(new),
        claim_of(gone, dead=True),
        claim_of(other),
    ]
    expected.sort(key=lambda claim: claim.blob_key)
    assert await audits.claims(after="", limit=10) == expected
    assert await audits.claims(after="", limit=2) == expected[:2]
    assert await audits.claims(after=expected[1].blob_key, limit=10) == expected[2:]
    assert await audits.claims(after=expected[-1].blob_key, limit=10) == []


async def test_claims_on_keys_are_found_by_the_exact_key(world: World):
    audits = world.store.audits
    one, other = await world.put("a"), await world.put("b")
    await world.put("c")
    found = await audits.claims_on({one.blob_key, other.blob_key, fresh_key()})
    assert sorted(found, key=lambda claim: claim.key) == [claim_of(one), claim_of(other)]
    assert await audits.claims_on([]) == []


# owed


async def test_the_ledger_owes_every_key_of_an_unfinished_upload(world: World):
    upload = await world.opened()
    fresh = fresh_key()
    await world.store.uploads.switch_key(upload.ref, fresh)
    keys = {upload.intent.blob_key, fresh}
    assert await world.store.audits.owed(keys | {fresh_key()}) == keys
    await world.store.uploads.complete(upload.ref, completion(), 60)
    assert await world.store.audits.owed(keys) == keys
    await world.store.uploads.begin_undo(upload.ref, 60)
    assert await world.store.audits.owed(keys) == keys
    await world.store.uploads.finish_undo(upload.ref, 60)
    assert await world.store.audits.owed(keys) == keys
    await world.store.uploads.forget(upload.ref.id)
    assert await world.store.audits.owed(keys) == set()
    assert await world.store.audits.owed([]) == set()


async def test_a_committed_upload_owes_its_leftovers_until_they_are_seen_gone(world: World):
    upload = await world.put_with_leftover()
    leftover = upload.leftovers[0].blob_key
    assert await world.store.audits.owed({leftover, upload.intent.blob_key}) == {leftover}
    await world.store.uploads.cleaned(upload.ref.id, look_again_s=None)
    assert await world.store.audits.owed({leftover, upload.intent.blob_key}) == set()


# damage


async def test_a_damaged_version_is_marked_and_ordered_and_stays_what_it_is(world: World):
    version = await world.put()
    assert await world.store.audits.mark_damaged(version.id, damaged=True)
    marked = await world.latest()
    assert marked is not None
    assert marked.damaged_at is not None
    assert (marked.last_seq > version.seq, marked.revision) == (True, version.revision + 1)
    unmarked = {"damaged_at": None, "changed_seq": 0, "revision": version.revision}
    assert replace(marked, **unmarked) == version
    assert [claim.damaged for claim in await world.store.audits.claims(after="", limit=1)] == [True]
    assert not await world.store.audits.mark_damaged(version.id, damaged=True)
    assert await world.latest() == marked


async def test_the_mark_goes_when_the_blob_is_whole_again(world: World):
    version = await world.put()
    assert not await world.store.audits.mark_damaged(version.id, damaged=False)
    await world.store.audits.mark_damaged(version.id, damaged=True)
    assert await world.store.audits.mark_damaged(version.id, damaged=False)
    latest = await world.latest()
    assert latest is not None
    assert (latest.damaged_at, latest.revision) == (None, version.revision + 2)


async def test_only_the_latest_version_of_a_key_is_marked(world: World):
    old = await world.put()
    await world.put()
    gone = await world.put("b")
    await world.delete("b")
    for version in (old.id, gone.id, VersionId(new_id())):
        assert not await world.store.audits.mark_damaged(version, damaged=True)


async def test_a_damaged_object_is_overwritten_and_deleted_like_any_other(world: World):
    damaged = await world.put()
    await world.store.audits.mark_damaged(damaged.id, damaged=True)
    new = await world.put()
    latest = await world.latest()
    assert latest == new
    assert new.damaged_at is None
    await world.store.audits.mark_damaged(new.id, damaged=True)
    deleted = await world.delete()
    assert deleted is not None
    assert deleted.damaged_at is not None
    await world.put(preconditions=CREATE_ONLY)


async def test_each_mark_has_its_event_and_no_other(mongo_world: World, mongo_settings: Metadata):
    version = await mongo_world.put()
    for damaged in (True, True, False):
        await mongo_world.store.audits.mark_damaged(version.id, damaged=damaged)
    with pymongo.MongoClient(mongo_settings.url.get_secret_value()) as client:
        events = list(
            client[mongo_settings.database]["events"].find({"key": "k"}, sort=[("seq", 1)])
        )
    types = [event["type"] for event in events]
    assert types == ["object.created", "object.damaged", "object.repaired"]
    assert [event["version"]["_id"] for event in events] == [version.id] * 3
    assert "damaged_at" in events[1]["version"]
    assert len({event["seq"] for event in events}) == 3
    assert all("at" in event and event["key"] == version.key for event in events)


# quarantine


async def test_a_stray_keeps_the_time_it_was_first_found(world: World):
    audits = world.store.audits
    blob = Stray(BlobKey("blobs/acme/aa/$x?y"))
    multipart = Stray(BlobKey("blobs/acme/aa/$x"), MultipartId("y"))
    await audits.quarantine([blob])
    await world.pass_time(0.2)
    await audits.quarantine([multipart, blob])
    assert await audits.quarantined(found_before_s=0.15, limit=10) == [blob]
    await world.pass_time(0)
    assert await audits.quarantined(found_before_s=0, limit=10) == [blob, multipart]
    assert await audits.quarantined(found_before_s=0, limit=1) == [blob]
    await audits.release([blob])
    assert await audits.quarantined(found_before_s=0, limit=10) == [multipart]
    await audits.quarantine([])


async def test_what_is_not_found_again_is_released(world: World):
    audits = world.store.audits
    kept, gone = Stray(fresh_key()), Stray(fresh_key())
    await audits.quarantine([kept, gone])
    await world.pass_time(0.01)
    since = await world.store.now()
    await audits.quarantine([kept])
    assert await audits.release_unseen(since) == 1
    await world.pass_time(0)
    assert await audits.quarantined(found_before_s=0, limit=10) == [kept]


# progress


async def test_progress_is_kept_for_each_worker(world: World):
    audits = world.store.audits
    assert await audits.progress("scrubber") == Progress()
    now = await world.store.now()
    there = Progress(now, now, {"blobs": 3}, "blobs/a", BlobKey("blobs/b"), 1 << 40, b"\xff" * 8)
    await audits.save_progress("scrubber", there)
    await audits.save_progress("auditor", Progress(began_at=now))
    assert await audits.progress("scrubber") == there
    await audits.save_progress("scrubber", Progress())
    assert await audits.progress("scrubber") == Progress()
    assert await audits.progress("auditor") == Progress(began_at=now)
