"""Links: URLs by which the store itself answers, for a while, and in the service's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from blob_fixtures import SERVERS, OpenStore
from blobs import put, some_chunks
from s3_servers import S3Server
from yarl import URL

from service.model.blob import LinkFields
from service.model.ids import DEFAULT_TENANT
from service.stores.blob_layout import new_blob_key
from service.stores.ports import BlobStore
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.link_server import link_server

DISPOSITION = "attachment; filename=\"na_ve.mp4\"; filename*=UTF-8''na%C3%AFve%20%26%20b.mp4"
FIELDS = LinkFields("video/mp4; codecs=x", DISPOSITION, "private, max-age=5")


@pytest.fixture(params=["fake", *SERVERS])
async def linking(
    request: pytest.FixtureRequest, open_store: OpenStore
) -> AsyncIterator[tuple[BlobStore, str]]:
    """Every implementation, and the public endpoint its links must begin with."""
    if request.param == "fake":
        fake = FakeBlobStore()
        async with link_server(fake):
            yield fake, fake.public_endpoint
        return
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    public = server.endpoint.replace("127.0.0.1", "localhost")
    yield await open_store(server.settings(public_endpoint=public)), public


async def follow(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with (
        ClientSession(auto_decompress=False) as session,
        session.get(URL(url, encoded=True), headers=headers) as response,
    ):
        return response.status, dict(response.headers), await response.read()


async def test_a_link_gives_the_blob_in_the_words_of_the_link(
    linking: tuple[BlobStore, str],
) -> None:
    store, public = linking
    chunks = some_chunks(100_000)
    url = await store.link(await put(store, chunks), FIELDS, 60)
    assert url.startswith(f"{public}/")
    status, headers, body = await follow(url)
    assert (status, body) == (200, b"".join(chunks))
    assert headers["Content-Type"] == "video/mp4; codecs=x"
    assert headers["Content-Disposition"] == DISPOSITION
    assert headers["Cache-Control"] == "private, max-age=5"


async def test_a_link_tells_the_stored_coding_and_language(
    linking: tuple[BlobStore, str],
) -> None:
    store, _ = linking
    fields = LinkFields("text/css", "attachment", "no-store", "br", "de")
    url = await store.link(await put(store, [b"not really brotli"]), fields, 60)
    status, headers, body = await follow(url)
    assert (status, body) == (200, b"not really brotli")
    assert headers["Content-Encoding"] == "br"
    assert headers["Content-Language"] == "de"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=99990-", 99_990, 100_000),
        ("bytes=0-", 0, 100_000),
        ("bytes=-10", 99_990, 100_000),
        ("bytes=-500000", 0, 100_000),
        ("bytes=99990-500000", 99_990, 100_000),
    ],
)
async def test_a_link_gives_one_range(
    linking: tuple[BlobStore, str], asked: str, start: int, end: int
) -> None:
    store, _ = linking
    chunks = some_chunks(100_000)
    url = await store.link(await put(store, chunks), FIELDS, 60)
    status, headers, body = await follow(url, Range=asked)
    assert (status, body) == (206, b"".join(chunks)[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/100000"
    assert headers["Content-Disposition"] == DISPOSITION


async def test_a_link_ends(linking: tuple[BlobStore, str]) -> None:
    store, _ = linking
    url = await store.link(await put(store, [b"soon over"]), FIELDS, 3)
    assert (await follow(url))[0] == 200
    await asyncio.sleep(4.1)
    status, _, body = await follow(url)
    assert status == 403
    assert b"soon over" not in body


async def test_a_link_is_for_that_blob_and_those_words_only(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(s3_server.settings())
    url = await store.link(await put(store, [b"<script>"]), FIELDS, 60)
    other = await put(store, [b"another's"])
    key = URL(url).path.partition("/contract/")[2]
    for changed in (
        url.replace("video%2Fmp4", "text%2Fhtml"),
        url.replace("attachment", "inline"),
        url.replace(key, other),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        url.partition("?")[0],
    ):
        assert changed != url
        assert (await follow(changed))[0] == 403


async def test_a_link_to_a_missing_blob_is_found_out_by_its_follower(
    linking: tuple[BlobStore, str],
) -> None:
    store, _ = linking
    url = await store.link(new_blob_key(DEFAULT_TENANT), FIELDS, 60)
    assert (await follow(url))[0] == 404
