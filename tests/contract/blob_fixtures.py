"""Fixtures of the blob stores; `conftest.py` makes them known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from s3_servers import S3Server, running_server

from service.settings import S3
from service.stores.ports import BlobStore
from service.stores.s3 import S3BlobStore, open_blob_store
from tests.conftest import require_minio
from tests.fakes.blob_store import FakeBlobStore

OpenStore = Callable[[S3], Awaitable[S3BlobStore]]
SERVERS = ("seaweedfs", pytest.param("minio", marks=pytest.mark.minio))
START_TIMEOUT_S = 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that start and stop a server get the time for it."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if {"s3_server", "blob_store"} & set(names) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(START_TIMEOUT_S))


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_server("seaweedfs", tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    require_minio()
    with running_server("minio", tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(params=SERVERS)
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(params=SERVERS)
def mortal_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    """A server of its own, which the test may kill or freeze."""
    if request.param == "minio":
        require_minio()
    with running_server(request.param, tmp_path) as server:
        yield server


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    """Opens stores, bucket made, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(settings: S3) -> S3BlobStore:
            store = await open_blob_store(settings)
            stack.push_async_callback(store.close)
            await store.ensure_bucket()
            return store

        yield opened


@pytest.fixture(params=["fake-once", "fake-again", *SERVERS])
async def blob_store(request: pytest.FixtureRequest, open_store: OpenStore) -> BlobStore:
    """Every implementation; the two fakes differ in what a repeated Complete gets."""
    if request.param.startswith("fake"):
        return FakeBlobStore(complete_again=request.param == "fake-again")
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    store = await open_store(server.settings())
    await store.probe()
    return store
