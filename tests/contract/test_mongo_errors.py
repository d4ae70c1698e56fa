"""What the driver raises becomes ours, and nothing waits without end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from metadata_engines import OWNER, World
from mongo_faults import failing
from mongo_servers import EmbeddedMongo

from service.errors import (
    MediagateError,
    OutcomeUnknown,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from service.settings import Metadata
from service.stores.mongo import MongoMetadata, open_metadata

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def mongo_url(embedded_mongo: EmbeddedMongo) -> str:
    return embedded_mongo.url


@pytest.fixture
async def hasty(mongo_world: World, mongo_settings: Metadata) -> AsyncIterator[MongoMetadata]:
    """The same database with half a second's patience."""
    store = open_metadata(mongo_settings.model_copy(update={"timeout_s": 0.5}))
    await store.ping()
    yield store
    await store.close()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def test_a_read_over_broken_connections_is_unavailable(
    mongo_world: World, hasty: MongoMetadata, mongo_url: str
):
    with (
        failing(mongo_url, "find", closeConnection=True),
        pytest.raises(StoreUnavailable) as raised,
    ):
        await hasty.versions.get_latest(*mongo_world.place, "k")
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_write_over_broken_connections_has_an_unknown_outcome(
    mongo_world: World, hasty: MongoMetadata, mongo_url: str
):
    upload = await mongo_world.opened()
    with (
        failing(mongo_url, "update", "findAndModify", closeConnection=True),
        pytest.raises(OutcomeUnknown),
    ):
        await hasty.uploads.renew(upload.ref, 60)
    await mongo_world.store.uploads.renew(upload.ref, 60)


async def test_one_broken_connection_is_nothing_to_speak_of(mongo_world: World, mongo_url: str):
    upload = await mongo_world.opened()
    with failing(mongo_url, "update", "find", times=1, closeConnection=True):
        await mongo_world.latest()
    with failing(mongo_url, "update", "find", times=1, closeConnection=True):
        await mongo_world.store.uploads.renew(upload.ref, 60)


@pytest.mark.parametrize(
    ("code", "kind"), [(13, StoreUnavailable), (14031, StoreFull), (9, MediagateError)]
)
async def test_a_refusal_is_told_by_its_code(
    mongo_world: World, mongo_url: str, code: int, kind: type[MediagateError]
):
    upload = await mongo_world.opened()
    with failing(mongo_url, "update", errorCode=code), pytest.raises(kind) as raised:
        await mongo_world.store.uploads.renew(upload.ref, 60)
    assert type(raised.value) is kind
    assert await mongo_world.read(upload) == upload


async def test_a_slow_server_is_a_timeout_for_reads_and_unknown_for_writes(
    mongo_world: World, hasty: MongoMetadata, mongo_url: str
):
    upload = await mongo_world.opened()
    slow = {"blockConnection": True, "blockTimeMS": 2000}
    with failing(mongo_url, "find", "update", **slow), within(3):
        with pytest.raises(StoreTimeout):
            await hasty.versions.get_latest(*mongo_world.place, "k")
        with pytest.raises(OutcomeUnknown):
            await hasty.uploads.renew(upload.ref, 60)


async def test_a_frozen_server_keeps_nobody_waiting_beyond_the_timeout(
    mongo_world: World, hasty: MongoMetadata, embedded_mongo: EmbeddedMongo
):
    upload = await mongo_world.completing()
    with embedded_mongo.paused(), within(6):
        calls = [hasty.versions.get_latest(*mongo_world.place, "k") for _ in range(80)]
        with within(3):
            results = await asyncio.gather(*calls, hasty.ping(), return_exceptions=True)
        assert {isinstance(result, StoreUnavailable) for result in results} == {True}
        with pytest.raises(StoreUnavailable):
            await hasty.uploads.renew(upload.ref, 60)
        with pytest.raises(StoreUnavailable):
            await hasty.uploads.commit(upload.ref, deadline_s=0.5)
    await mongo_world.commit(upload)


async def test_silence_is_told_from_refusals(
    mongo_world: World, hasty: MongoMetadata, embedded_mongo: EmbeddedMongo, mongo_url: str
):
    upload = await mongo_world.opened()
    with embedded_mongo.paused():
        await asyncio.sleep(0.1)  # its threads stop one by one
        with pytest.raises(StoreUnavailable) as of_a_read:
            await hasty.ping()
        with pytest.raises(StoreUnavailable) as of_a_write:
            await hasty.uploads.renew(upload.ref, 60)
    with failing(mongo_url, "update", errorCode=13), pytest.raises(StoreUnavailable) as refusal:
        await hasty.uploads.renew(upload.ref, 60)
    silent = [raised.value.silent for raised in (of_a_read, of_a_write, refusal)]
    assert silent == [True, True, False]


async def test_where_nothing_listens_every_call_says_so_in_time(mongo_world: World):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mongodb://127.0.0.1:{unused.getsockname()[1]}/?directConnection=true"
        store = open_metadata(Metadata(url=url, timeout_s=0.5))  # type: ignore[arg-type]
        upload = await mongo_world.completing()
        with within(6):
            for call in (
                store.ping(),
                store.start(),
                store.uploads.get(upload.ref.id),
                store.uploads.admit(mongo_world.intent(), OWNER, 60),
                store.uploads.commit(upload.ref, deadline_s=0.5),
            ):
                with pytest.raises(StoreUnavailable) as raised:
                    await call
                assert not isinstance(raised.value, OutcomeUnknown)
        with pytest.raises(StoreUnavailable) as raised:
            await store.ping()
        assert raised.value.silent
        await store.close()
