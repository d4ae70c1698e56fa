"""The use cases on stores in memory: fast, and the clock moves only when told."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT
from service.settings import MIB, Http, Limits, Settings, Sweep, Uploads
from service.telemetry.metrics import Metrics
from service.usecases.byte_budget import ByteBudget
from service.usecases.put_object import PutRequest, PutResult, put_object
from service.usecases.runtime import Runtime
from service.usecases.tasks import Tasks
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata

Put = Callable[..., Awaitable[PutResult]]


@pytest.fixture
def blobs() -> FakeBlobStore:
    return FakeBlobStore()


@pytest.fixture
async def metadata() -> FakeMetadata:
    metadata = FakeMetadata()
    await metadata.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
    return metadata


@pytest.fixture
async def runtime(blobs: FakeBlobStore, metadata: FakeMetadata) -> AsyncIterator[Runtime]:
    settings = Settings(
        http=Http(max_download_s=1),
        uploads=Uploads(
            lease_s=30,
            part_bytes=5 * MIB,
            large_part_bytes=5 * MIB,
            copy_part_bytes=5 * MIB,
            tombstone_s=100,
        ),
        sweep=Sweep(grace_s=1000),
        limits=Limits(byte_budget_bytes=32 * MIB, max_object_bytes=64 * MIB),
    )
    budget = ByteBudget(settings.limits.byte_budget_bytes)
    runtime = Runtime(settings, blobs, metadata, budget, Tasks(), Metrics())
    yield runtime
    await runtime.tasks.drain(5)
    assert budget.used_bytes == 0, "a part kept its bytes"


async def chunked(data: bytes, chunk_bytes: int = 100_000) -> AsyncIterator[bytes]:
    for position in range(0, len(data), chunk_bytes):
        yield data[position : position + chunk_bytes]


def some_bytes(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def put(runtime: Runtime) -> Put:
    async def put(data: bytes, key: str = "a", **request: object) -> PutResult:
        whole = PutRequest(DEFAULT_TENANT, "films", key, **request)  # type: ignore[arg-type]
        return await put_object(runtime, whole, chunked(data))

    return put
