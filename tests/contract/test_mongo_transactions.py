"""Transactions under faults: reruns, ambiguous commits, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest
from metadata_engines import World, completion
from mongo_faults import LossyMongoProxy, failing, lossy_mongo_proxy
from mongo_servers import EmbeddedMongo

from service.errors import OutcomeUnknown, PreconditionFailed, StoreUnavailable
from service.model.preconditions import EntityTags, Preconditions
from service.model.upload import Upload, UploadState
from service.settings import Metadata
from service.stores.mongo import MongoMetadata, open_metadata

TRANSIENT = {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def mongo_url(embedded_mongo: EmbeddedMongo) -> str:
    """Faults need a server that obeys failCommand."""
    return embedded_mongo.url


@pytest.fixture
async def proxy(embedded_mongo: EmbeddedMongo) -> AsyncIterator[LossyMongoProxy]:
    async with lossy_mongo_proxy(embedded_mongo.port) as proxy:
        yield proxy


@pytest.fixture
async def faulty(
    proxy: LossyMongoProxy, mongo_world: World, mongo_settings: Metadata
) -> AsyncIterator[MongoMetadata]:
    """The same database, reached through the proxy."""
    values = {"url": proxy.url, "database": mongo_settings.database, "timeout_s": 2}
    store = open_metadata(Metadata.model_validate(values))
    await store.ping()
    yield store
    await store.close()


def events(settings: Metadata) -> list[dict[str, Any]]:
    """Of objects: the bucket has its own."""
    with pymongo.MongoClient(settings.url.get_secret_value()) as client:
        return list(client[settings.database]["events"].find({"key": {"$exists": True}}))


async def settled(world: World, upload: Upload, committed: Upload, settings: Metadata) -> bool:
    """Committed once, with one version and one event."""
    assert committed.state is UploadState.COMMITTED
    assert await world.read(upload) == committed
    assert await world.latest() == committed.version()
    assert [event["_id"] for event in events(settings)] == [upload.ref.id]
    return True


@pytest.mark.parametrize("command", ["find", "findAndModify", "insert"])
async def test_a_conflict_runs_the_whole_transaction_again(
    mongo_world: World, mongo_settings: Metadata, mongo_url: str, command: str
):
    upload = await mongo_world.completing()
    with failing(mongo_url, command, times=2, **TRANSIENT):
        committed = await mongo_world.commit(upload)
    assert await settled(mongo_world, upload, committed, mongo_settings)


async def test_a_conflict_without_end_is_unavailable_at_the_deadline(
    mongo_world: World, mongo_url: str
):
    upload = await mongo_world.completing()
    began = time.monotonic()
    with failing(mongo_url, "insert", **TRANSIENT), pytest.raises(StoreUnavailable) as raised:
        await mongo_world.store.uploads.commit(upload.ref, deadline_s=0.5)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert time.monotonic() - began < 3
    assert await mongo_world.read(upload) == upload
    await mongo_world.commit(upload)


async def test_a_commit_that_the_server_never_got_is_sent_again(
    mongo_world: World, mongo_settings: Metadata, mongo_url: str
):
    upload = await mongo_world.completing()
    with failing(mongo_url, "commitTransaction", times=3, closeConnection=True):
        committed = await mongo_world.commit(upload)
    assert await settled(mongo_world, upload, committed, mongo_settings)


async def test_a_commit_that_the_server_forgot_is_read_back_and_run_again(
    mongo_world: World, mongo_settings: Metadata, mongo_url: str
):
    upload = await mongo_world.completing()
    labels = ["TransientTransactionError"]
    with failing(mongo_url, "commitTransaction", times=1, errorCode=251, errorLabels=labels):
        committed = await mongo_world.commit(upload)
    assert await settled(mongo_world, upload, committed, mongo_settings)


@pytest.mark.parametrize("times", [1, 2, 3, 5])
async def test_a_commit_whose_answer_was_lost_is_committed_once(
    mongo_world: World,
    mongo_settings: Metadata,
    faulty: MongoMetadata,
    proxy: LossyMongoProxy,
    times: int,
):
    upload = await mongo_world.completing()
    proxy.losing("commitTransaction", times=times)
    committed = await faulty.uploads.commit(upload.ref, deadline_s=8)
    assert proxy.seen > times
    assert await settled(mongo_world, upload, committed, mongo_settings)


async def test_a_commit_whose_answers_are_all_lost_is_read_back(
    mongo_world: World,
    mongo_settings: Metadata,
    faulty: MongoMetadata,
    proxy: LossyMongoProxy,
):
    upload = await mongo_world.completing()
    proxy.losing("commitTransaction")
    committed = await faulty.uploads.commit(upload.ref, deadline_s=1)
    assert await settled(mongo_world, upload, committed, mongo_settings)


async def test_a_delete_whose_answers_are_all_lost_is_read_back(
    mongo_world: World,
    mongo_settings: Metadata,
    faulty: MongoMetadata,
    proxy: LossyMongoProxy,
):
    version = await mongo_world.put()
    proxy.losing("commitTransaction")
    place = mongo_world.place
    deleted = await faulty.versions.delete(*place, "k", Preconditions(), deadline_s=1)
    assert deleted == version
    assert await mongo_world.latest() is None
    assert [event["type"] for event in events(mongo_settings)] == [
        "object.created",
        "object.deleted",
    ]


async def test_a_commit_that_never_arrives_has_an_unknown_outcome(
    mongo_world: World, faulty: MongoMetadata, proxy: LossyMongoProxy, mongo_url: str
):
    upload = await mongo_world.completing()
    proxy.losing("commitTransaction", lose="request")
    with pytest.raises(OutcomeUnknown):
        await faulty.uploads.commit(upload.ref, deadline_s=1)
    assert await mongo_world.latest() is None
    with pymongo.MongoClient(mongo_url) as client:  # else it stays open for a minute
        client.admin.command("killAllSessions", [])
    await mongo_world.commit(upload)


async def test_a_commit_that_cannot_be_read_back_has_an_unknown_outcome(
    mongo_world: World,
    faulty: MongoMetadata,
    proxy: LossyMongoProxy,
):
    """The answers are lost, and then the server is gone as far as this process can see."""
    upload = await mongo_world.completing()
    proxy.losing("commitTransaction")
    committing = asyncio.create_task(faulty.uploads.commit(upload.ref, deadline_s=1))
    await proxy.met.wait()
    proxy.losing("$db")
    with pytest.raises(OutcomeUnknown):
        await committing
    assert (await mongo_world.read(upload)).state is UploadState.COMMITTED


async def test_a_failed_precondition_leaves_no_transaction_open(
    mongo_world: World, mongo_settings: Metadata
):
    create_only = Preconditions(if_none_match=EntityTags(any=True))
    await mongo_world.put()
    upload = await mongo_world.completing(preconditions=create_only)
    with pytest.raises(PreconditionFailed):
        await mongo_world.commit(upload)
    began = time.monotonic()
    await mongo_world.put()
    await mongo_world.store.uploads.begin_undo(upload.ref, 60)
    assert time.monotonic() - began < 2
    assert len(events(mongo_settings)) == 2


async def test_a_cancelled_commit_ends_before_its_caller_and_leaves_the_store_usable(
    mongo_world: World, mongo_settings: Metadata
):
    for n in range(10):
        upload = await mongo_world.completing(f"k{n}")
        committing = asyncio.create_task(mongo_world.commit(upload))
        await asyncio.sleep(n * 0.001)
        committing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await committing
        found = await mongo_world.read(upload)
        committed = found.state is UploadState.COMMITTED
        assert (await mongo_world.latest(f"k{n}") is not None) == committed
        await mongo_world.store.uploads.complete((await mongo_world.opened()).ref, completion(), 60)


async def test_close_waits_for_what_runs(mongo_world: World, mongo_settings: Metadata):
    store = open_metadata(mongo_settings)
    upload = await mongo_world.completing()
    committing = asyncio.create_task(store.uploads.commit(upload.ref, deadline_s=8))
    await asyncio.sleep(0.001)
    await store.close()
    assert (await committing).version() == await mongo_world.latest()
