"""Metered stores behave as the stores do, and are measured."""

from __future__ import annotations

import pytest

from service.errors import BlobMissing, StoreTimeout
from service.model.blob import PartChecksum
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT, BlobKey
from service.stores.wrappers import metered_blobs, metered_metadata
from service.telemetry.metrics import Metrics
from tests.fakes.blob_store import FakeBlobStore, crc_of
from tests.fakes.metadata import FakeMetadata

KEY = BlobKey("blobs/t/aa/aabb")


def count(metrics: Metrics, store: str, operation: str) -> str:
    head = f'store_duration_seconds_count{{operation="{operation}",store="{store}"}} '
    return metrics.render().decode().partition(head)[2].partition("\n")[0]


async def test_calls_are_passed_on_and_timed() -> None:
    metrics, metadata = Metrics(), FakeMetadata()
    metered = metered_metadata(metadata, metrics)
    made = await metered.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
    assert await metered.buckets.get(DEFAULT_TENANT, "films") == made
    await metered.ping()
    assert count(metrics, "metadata.buckets", "create") == "1.0"
    assert count(metrics, "metadata", "ping") == "1.0"


async def test_failures_pass_and_are_counted_by_code(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, blobs = Metrics(), FakeBlobStore()

    async def late(*_: object) -> None:
        raise StoreTimeout

    monkeypatch.setattr(blobs, "head", late)
    with pytest.raises(StoreTimeout):
        await metered_blobs(blobs, metrics).head(KEY)
    assert (
        'store_errors_total{code="store_timeout",operation="head",store="blobs"} 1.0'
        in metrics.render().decode()
    )


async def test_a_read_gives_its_bytes_and_ends_the_inner_context() -> None:
    metrics, blobs = Metrics(), FakeBlobStore()
    metered = metered_blobs(blobs, metrics)
    await metered.put(KEY, [b"hello"], crc_of(b"hello"))
    async with metered.read(KEY, 1, 4) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"ell"
    assert count(metrics, "blobs", "read") == "1.0"
    with pytest.raises(BlobMissing):
        async with metered.read(BlobKey("none"), 0, 1):
            pass
    assert count(metrics, "blobs", "read") == "2.0"


async def test_what_breaks_inside_a_read_gets_out() -> None:
    blobs = FakeBlobStore()
    metered = metered_blobs(blobs, Metrics())
    await metered.put(KEY, [b"hello"], crc_of(b"hello"))
    with pytest.raises(KeyError):
        async with metered.read(KEY, 0, 5):
            raise KeyError


async def test_a_scan_and_plain_attributes_pass_through() -> None:
    blobs = FakeBlobStore()
    metered = metered_blobs(blobs, Metrics())
    await metered.put(KEY, [b"hello"], crc_of(b"hello"))
    multipart = await metered.create_multipart(KEY)
    assert [found.id async for found in metered.scan_multiparts("blobs/")] == [multipart]
    blobs.part_checksum = PartChecksum.MD5
    assert metered.part_checksum is PartChecksum.MD5
