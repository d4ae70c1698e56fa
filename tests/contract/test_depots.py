"""What every depot promises: a folder, and a prefix of a real S3 bucket."""

from __future__ import annotations

import random
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from service.client.checksum import Crc64
from service.client.sync.report import Kind, Report
from service.errors import Conflict, NotFound
from service.model.bucket import BucketSettings
from service.model.depot import MANIFEST, Exported
from service.model.ids import DEFAULT_TENANT
from service.model.version import ObjectFacts
from service.settings import MIB
from service.stores.depot_folder import FolderDepot
from service.stores.s3.depot import open_s3_depot
from service.usecases.export_objects import ExportRequest, export_objects
from service.usecases.import_objects import ImportRequest, import_objects
from service.usecases.put_object import PutRequest, put_object
from tests.contract.blob_fixtures import SERVERS
from tests.web.serving import make_settings, running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = ObjectFacts(
    content_type="text/plain",
    content_language="de",
    cache_control="no-store",
    filename="ä.txt",
    user_metadata={"who": "Zoë", "long": "x" * 5000},
    tags={"a": "b"},
)


@pytest.fixture(params=["folder", *SERVERS])
def server(request):
    """None for a folder."""
    if request.param == "folder":
        return None
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
async def depot(server, tmp_path, open_store):
    if server is None:
        yield FolderDepot(tmp_path / "depot", lambda name, error: None)
        return
    await open_store(server.settings())  # makes the bucket
    prefix = f"depot-{secrets.token_hex(4)}/"
    async with open_s3_depot(server.settings(), "contract", prefix) as depot:
        yield depot


pytestmark = pytest.mark.timeout(90)


async def chunks_of(data, error=None):
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]
    if error:
        raise error


async def write(depot, name, data, facts=FACTS):
    crc = Crc64()
    crc.update(data)
    digests = {"crc64nvme": crc.digest()}
    exported = Exported(name, len(data), "V", NOW, NOW, facts, digests)
    await depot.write(exported, chunks_of(data))
    return crc.digest()


async def read(depot, item):
    async with depot.open(item) as content:
        return b"".join([chunk async for chunk in content.chunks])


async def items_of(depot):
    return {item.name: item async for item in depot.items()}


@pytest.mark.parametrize("size_bytes", [0, 1, 17 * MIB])
async def test_what_is_written_is_listed_read_and_known_by_its_digest(depot, size_bytes):
    data = random.Random(1).randbytes(size_bytes)
    digest = await write(depot, "a/ä b", data)
    items = await items_of(depot)
    assert [(item.name, item.size_bytes) for item in items.values()] == [("a/ä b", size_bytes)]
    assert await read(depot, items["a/ä b"]) == data
    assert await depot.digest("a/ä b", size_bytes) == digest
    assert await depot.digest("a/ä b", size_bytes + 1) is None
    assert await depot.digest("absent", size_bytes) is None


@pytest.mark.parametrize("size_bytes", [10, 17 * MIB])
async def test_chunks_that_break_leave_what_was_there(depot, size_bytes):
    await write(depot, "one", b"old")
    exported = Exported("one", size_bytes, "V", NOW, NOW, FACTS)
    with pytest.raises(ValueError, match="broken"):
        await depot.write(exported, chunks_of(b"x" * size_bytes, ValueError("broken")))
    items = await items_of(depot)
    assert [await read(depot, item) for item in items.values()] == [b"old"]


async def test_an_item_that_was_replaced_is_neither_read_nor_removed(depot):
    await write(depot, "one", b"old")
    old = (await items_of(depot))["one"]
    await write(depot, "one", b"newer")
    with pytest.raises(Conflict):
        await read(depot, old)
    with pytest.raises(Conflict):
        await depot.remove(old)
    new = (await items_of(depot))["one"]
    await depot.remove(new)
    assert await items_of(depot) == {}
    with pytest.raises(NotFound):
        await read(depot, new)


async def test_the_manifest_is_replaced_as_a_whole_and_is_no_item(depot):
    assert [line async for line in depot.manifest()] == []
    lines = [b'{"n": %d}\n' % number for number in range(20_000)]

    async def written():
        for line in lines:
            yield line

    await depot.write_manifest(written())
    assert [line.rstrip() async for line in depot.manifest()] == [line.rstrip() for line in lines]
    await depot.write_manifest(chunks_of(b"{}\n"))
    assert [line.rstrip() async for line in depot.manifest()] == [b"{}"]
    assert MANIFEST not in await items_of(depot)


@asynccontextmanager
async def two_buckets():
    async with running(make_settings()) as service:
        for name in ("films", "copies"):
            await service.metadata.buckets.create(DEFAULT_TENANT, name, BucketSettings())
        yield service


async def test_an_export_comes_back_as_it_was(depot):
    """Names whose order by bytes is not that of folders too."""
    async with two_buckets() as service:
        for key in ("a/x", "a-b", "a!", "b/ü", "empty"):
            request = PutRequest(DEFAULT_TENANT, "films", key, FACTS)
            await put_object(service.runtime, request, chunks_of(b"" if key == "empty" else b"1"))
        outcomes = []
        for _ in range(2):
            report = Report(lambda action: None)
            await export_objects(
                service.runtime, ExportRequest(DEFAULT_TENANT, "films"), depot, report
            )
            outcomes.append(report.counts)
        for _ in range(2):
            report = Report(lambda action: None)
            await import_objects(
                service.runtime, ImportRequest(DEFAULT_TENANT, "copies"), depot, report
            )
            outcomes.append(report.counts)
        assert outcomes == [{Kind.GET: 5}, {Kind.SAME: 5}, {Kind.PUT: 5}, {Kind.SAME: 5}]
        buckets = service.metadata.buckets
        ids = [(await buckets.get(DEFAULT_TENANT, name)).id for name in ("films", "copies")]
        for key in ("a/x", "a-b", "a!", "b/ü", "empty"):
            old, new = [
                await service.metadata.versions.get_latest(DEFAULT_TENANT, id_, key) for id_ in ids
            ]
            assert (new.facts, new.digests) == (old.facts, old.digests)
