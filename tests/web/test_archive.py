"""An archive of objects over a real socket."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientPayloadError

from service.errors import StoreUnavailable
from service.model.api_key import Scope
from service.model.ids import BlobKey
from service.settings import MIB
from service.usecases import get_object
from tests.fakes.blob_store import FakeBlobStore
from tests.web.serving import Service, make_settings, running

ARCHIVE = "/v1/buckets/films/archive"
FILES = {
    "2026/a.txt": b"alpha",
    "2026/empty": b"",
    "2026/été/б.bin": b"\x01\x02" * MIB,
    "2026/z": b"last",
    "other": b"not asked for",
}


async def fill(service: Service, files: dict[str, bytes] = FILES) -> None:
    for key, content in files.items():
        path = f"/v1/buckets/films/objects/{key}"
        async with service.fetch("PUT", path, data=io.BytesIO(content)) as response:
            assert response.status == 201


async def test_zip_of_a_folder(service: Service, bucket: str) -> None:
    await fill(service)
    async with service.fetch("GET", f"{ARCHIVE}?prefix=2026/") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/zip"
        assert response.headers["Accept-Ranges"] == "none"
        assert 'filename="2026.zip"' in response.headers["Content-Disposition"]
        assert "Content-Length" not in response.headers
        whole = await response.read()
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        assert found.testzip() is None
        assert found.namelist() == ["a.txt", "empty", "z", "été/б.bin"]
        assert found.read("été/б.bin") == FILES["2026/été/б.bin"]


async def test_same_objects_give_the_same_bytes(service: Service, bucket: str) -> None:
    await fill(service)
    async with service.fetch("GET", ARCHIVE) as response:
        first = await response.read()
    async with service.fetch("GET", ARCHIVE) as response:
        assert await response.read() == first


async def test_tar_of_part_of_a_name_keeps_the_folder_out(service: Service, bucket: str) -> None:
    await fill(service)
    async with service.fetch("GET", f"{ARCHIVE}?prefix=2026/a&format=tar") as response:
        assert response.headers["Content-Type"] == "application/x-tar"
        whole = await response.read()
    with tarfile.open(fileobj=io.BytesIO(whole)) as found:
        assert found.getnames() == ["a.txt"]


async def test_head_tells_the_headers(service: Service, bucket: str) -> None:
    async with service.fetch("HEAD", ARCHIVE) as response:
        assert response.status == 200
        assert 'filename="films.zip"' in response.headers["Content-Disposition"]


@pytest.mark.parametrize("query", ["?format=rar", "?delimiter=/", "?prefix=%00", "?prefix=%ff"])
async def test_wrong_parameters_are_refused(service: Service, bucket: str, query: str) -> None:
    async with service.fetch("GET", ARCHIVE + query) as response:
        assert response.status == 400


async def test_restart_by_range_is_refused(service: Service, bucket: str) -> None:
    async with service.fetch("GET", ARCHIVE, headers={"Range": "bytes=5-"}) as response:
        assert response.status == 400
        assert (await response.json())["field"] == "Range"
    conditional = {"Range": "bytes=5-", "If-Range": '"x"'}
    async with service.fetch("GET", ARCHIVE, headers=conditional) as response:
        assert response.status == 200


async def test_archive_needs_to_list_and_to_read(service: Service, bucket: str) -> None:
    for scopes, status in (((Scope.LIST, Scope.READ), 200), ((Scope.LIST,), 403)):
        key = await service.make_key(*scopes, prefixes=("2026/",))
        async with service.fetch("GET", f"{ARCHIVE}?prefix=2026/", key=key) as response:
            assert response.status == status
        async with service.fetch("GET", ARCHIVE, key=key) as response:
            assert response.status == 403


async def test_missing_bucket_is_told(service: Service) -> None:
    for method in ("GET", "HEAD"):
        async with service.fetch(method, ARCHIVE) as response:
            assert response.status == 404


async def test_lost_blob_before_the_first_byte_is_a_problem(service: Service, bucket: str) -> None:
    await fill(service)
    service.blobs.blobs.clear()
    async with service.fetch("GET", ARCHIVE) as response:
        assert response.status == 500


async def test_lost_blob_in_the_middle_cuts_the_connection(service: Service, bucket: str) -> None:
    await fill(service)
    (lost,) = [key for key, data in service.blobs.blobs.items() if data == b"last"]
    del service.blobs.blobs[lost]
    async with service.fetch("GET", f"{ARCHIVE}?prefix=2026/") as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_object_overwritten_meanwhile_is_packed_as_it_was(
    service: Service, bucket: str
) -> None:
    files = {"a": b"x" * 20 * MIB, "b": b"old"}
    await fill(service, files)
    async with service.fetch("GET", ARCHIVE) as response:
        head = await response.content.readexactly(100)
        async with service.fetch("PUT", "/v1/buckets/films/objects/b", data=b"new") as put:
            assert put.status == 200
        whole = head + await response.read()
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        assert found.read("b") == b"old"


class Breaking(FakeBlobStore):
    """Each read breaks off after one chunk."""

    opened = 0
    closed = 0

    @asynccontextmanager
    async def read(self, key: BlobKey, start: int, end: int) -> AsyncIterator[Any]:
        async with super().read(key, start, end) as chunks:
            self.opened += 1
            try:
                yield self._one(chunks)
            finally:
                self.closed += 1

    async def _one(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield await anext(chunks)
        raise StoreUnavailable("broke")


async def test_store_that_breaks_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_object, "_PAUSE_S", 0)
    store = Breaking(chunk_bytes=MIB)
    async with running(make_settings(), blobs=store) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        await fill(service, {"a": bytes(range(256)) * (3 * MIB // 256)})
        async with service.fetch("GET", ARCHIVE) as response:
            whole = await response.read()
        with zipfile.ZipFile(io.BytesIO(whole)) as found:
            assert found.testzip() is None
    assert store.opened > 2


async def test_client_that_goes_away_leaves_no_open_read() -> None:
    store = Breaking(chunk_bytes=16 * MIB)
    async with running(make_settings(), blobs=store) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        await fill(service, {"a": b"x" * 20 * MIB})
        async with service.fetch("GET", ARCHIVE) as response:
            await response.content.readexactly(10)
            response.close()
        async with asyncio.timeout(5):
            while store.closed < store.opened or not store.opened:
                await asyncio.sleep(0.01)
