"""Fixtures of the metadata engines; `conftest.py` makes them known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pymongo
import pytest
from metadata_engines import World
from mongo_servers import EmbeddedMongo, given_url
from sqlite_plans import long_reads

from service.settings import Metadata
from service.stores import sqlite
from service.stores.mongo import open_metadata
from tests.fakes.metadata import FakeMetadata


@pytest.fixture(scope="session")
def embedded_mongo() -> Iterator[EmbeddedMongo]:
    server = EmbeddedMongo()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mongo_url(request: pytest.FixtureRequest) -> str:
    return given_url() or request.getfixturevalue("embedded_mongo").url


@pytest.fixture
def mongo_settings(mongo_url: str) -> Iterator[Metadata]:
    """A database of its own for each test."""
    database = f"contract-{secrets.token_hex(6)}"
    yield Metadata(url=mongo_url, database=database, timeout_s=5)
    with pymongo.MongoClient(mongo_url) as client:
        client.drop_database(database)


@pytest.fixture
async def mongo_world(mongo_settings: Metadata) -> AsyncIterator[World]:
    async def pass_time(seconds: float) -> None:
        await asyncio.sleep(seconds + 0.005)

    store = open_metadata(mongo_settings)
    await store.start()
    yield await World(store, pass_time).open()
    await store.close()


@pytest.fixture
async def memory_world() -> World:
    store = FakeMetadata()

    async def pass_time(seconds: float) -> None:
        store.clock.advance(seconds + 0.005)

    return await World(store, pass_time).open()


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Metadata:
    """A file of its own for each test."""
    return Metadata(url=f"sqlite:///{tmp_path}/metadata.sqlite3", timeout_s=5)


@pytest.fixture
async def sqlite_world(sqlite_settings: Metadata) -> AsyncIterator[World]:
    async def pass_time(seconds: float) -> None:
        await asyncio.sleep(seconds + 0.005)

    store = sqlite.open_metadata(sqlite_settings)
    await store.start()
    engine, statements = store._engine, set[str]()
    assert engine._writer is not None
    assert engine._readers is not None
    for connection in (engine._writer._connection, *engine._readers._all):
        await connection.set_trace_callback(statements.add)
    yield await World(store, pass_time).open()
    await store.close()
    assert statements
    assert not await asyncio.to_thread(long_reads, engine.path, statements)


ENGINES = ("memory", "mongo", "sqlite")


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest) -> World:
    """Every metadata engine, one after the other."""
    return request.getfixturevalue(f"{request.param}_world")
