"""Reading from a bucket that redirects: the store gives the bytes, the service what they are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from aiohttp import web
from yarl import URL

from service.client import AsyncMediagate, UnexpectedAnswer, Unreachable
from service.errors import Forbidden, PreconditionFailed
from service.settings import MIB, S3
from tests.client.breaking_proxy import Cut, Proxy, breaking_proxy
from tests.client.conftest import SHORT
from tests.client.stored import store
from tests.fakes.link_server import Asked, link_server
from tests.web.serving import ROOT_KEY, Service, make_settings, running

DATA = random.Random(12).randbytes(5 * MIB)


@dataclass
class World:
    """proxy: between the client and the store; asked: what gets to the store."""

    service: Service
    proxy: Proxy
    asked: Asked
    mediagate: AsyncMediagate

    async def read(self, **what: object) -> bytes:
        async with self.mediagate.get("films", "a", **what) as download:
            return b"".join([chunk async for chunk in download])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    settings = make_settings(s3=S3(public_endpoint="https://s3.example.org"))
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(settings))
        asked = await stack.enter_async_context(link_server(service.blobs))
        port = URL(service.blobs.public_endpoint).port
        assert port is not None
        proxy = await stack.enter_async_context(breaking_proxy(port))
        service.blobs.public_endpoint = proxy.url
        body = {"delivery": "redirect"}
        async with service.fetch("PUT", "/v1/buckets/films", json=body) as response:
            assert response.status == 201
        mediagate = AsyncMediagate(service.url, ROOT_KEY, timeouts=SHORT)
        await stack.enter_async_context(mediagate)
        yield World(service, proxy, asked, mediagate)


async def test_the_bytes_are_the_stores_and_the_facts_the_services(world: World) -> None:
    version = await store(world.service, DATA, content_type="video/mp4")
    async with world.mediagate.get("films", "a") as download:
        assert (download.start, download.end, download.size_bytes) == (0, len(DATA), len(DATA))
        assert download.etag == f'"{version.id}"'
        assert download.content_type == "video/mp4"
        assert download.digests["crc64nvme"] == version.digests["crc64nvme"]
        assert b"".join([chunk async for chunk in download]) == DATA
    assert len(world.asked) == 1


async def test_the_key_stays_with_the_service(world: World) -> None:
    await store(world.service, DATA)
    assert await world.read(start=17, end=MIB) == DATA[17:MIB]
    (asked,) = world.asked
    assert "Authorization" not in asked
    assert ROOT_KEY not in str(asked)
    assert ROOT_KEY.encode() not in b"".join(world.proxy.taken)
    assert asked["Range"] == f"bytes=17-{MIB - 1}"


async def test_a_broken_stream_goes_on_with_the_same_version(world: World) -> None:
    await store(world.service, DATA)
    world.proxy.cuts = [Cut(answer_bytes=MIB)]
    assert await world.read() == DATA
    assert len(world.proxy.taken) == 1, "the rest came from the service, which knows the version"


async def test_a_stream_never_mixes_two_versions(world: World) -> None:
    await store(world.service, DATA)
    world.proxy.cuts = [Cut(answer_bytes=MIB, hold=True)]
    async with world.mediagate.get("films", "a") as download:
        chunks = aiter(download)
        await anext(chunks)
        await store(world.service, DATA[::-1])
        with pytest.raises(PreconditionFailed):
            async for _ in chunks:
                pass


async def test_a_file_goes_on_where_the_store_broke_off(world: World, tmp_path) -> None:
    version = await store(world.service, DATA)
    part = tmp_path / f"film.{version.id}.part"
    part.write_bytes(DATA[: 2 * MIB])
    await world.mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA
    world.proxy.cuts = [Cut(answer_bytes=3 * MIB)]
    await world.mediagate.get_to_file("films", "a", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == DATA
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"start": 17, "end": 99}, None),
        ({"start": 17, "end": 99}, "bytes 0-49/1000"),
        ({"start": 17, "end": 99}, "bytes 17-20/1000"),
        ({"end": 99}, None),
        ({"end": 99}, "bytes 0-49/1000"),
        ({"start": 17}, None),
        ({"start": 17}, "bytes 17-20/1000"),
        ({}, "bytes 0-49/1000"),
    ],
)
async def test_other_bytes_than_were_asked_for_are_an_error(
    world: World, aiohttp_server, asked: dict[str, int], told: str | None
) -> None:
    """A cache in front of the store may know nothing of ranges."""

    async def answer(_: web.Request) -> web.Response:
        if told is None:
            return web.Response(body=DATA[:1000])
        first, last = map(int, told.split()[1].partition("/")[0].split("-"))
        return web.Response(
            status=206, headers={"Content-Range": told}, body=DATA[first : last + 1]
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = await aiohttp_server(app)
    world.service.blobs.public_endpoint = str(server.make_url("")).rstrip("/")
    await store(world.service, DATA[:1000])
    with pytest.raises(UnexpectedAnswer, match="range"):
        await world.read(**asked)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_store_that_fails_for_a_moment_is_asked_again(
    world: World, aiohttp_server, status: int
) -> None:
    """S3 means both to be tried again; a 500 of the service itself is a bug of it."""
    answers = [web.Response(status=status, text="<Code>InternalError</Code>")]

    async def answer(_: web.Request) -> web.Response:
        return answers.pop() if answers else web.Response(body=DATA)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = await aiohttp_server(app)
    world.service.blobs.public_endpoint = str(server.make_url("")).rstrip("/")
    await store(world.service, DATA)
    assert await world.read() == DATA
    assert not answers


async def test_a_refusal_of_the_store_is_an_error_that_tells_no_url(world: World) -> None:
    await store(world.service, DATA)
    world.service.blobs.links = _Forgetful()
    with pytest.raises(Forbidden) as caught:
        await world.read()
    assert "Amz" not in str(caught.value) + repr(caught.value.extras)


async def test_a_store_out_of_reach_is_told_by_its_address_alone(
    world: World, unused_tcp_port: int
) -> None:
    await store(world.service, DATA)
    world.service.blobs.public_endpoint = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(Unreachable) as caught:
        await world.read()
    assert f"127.0.0.1:{unused_tcp_port}" in str(caught.value)
    assert "Amz" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Location": "/elsewhere"},
        {"ETag": '"a"'},
        {"ETag": '"a"', "Location": "file:///etc/passwd"},
    ],
)
async def test_a_redirect_of_somebody_else_is_not_followed(aiohttp_server, headers) -> None:
    seen = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", elsewhere)
    server = await aiohttp_server(app)
    async with AsyncMediagate(str(server.make_url("")), ROOT_KEY, timeouts=SHORT) as lost:
        with pytest.raises(UnexpectedAnswer):
            async with lost.get("films", "a"):
                pass
    assert seen == ["/v1/buckets/films/objects/a"]


class _Forgetful(dict):
    """A store that takes every link for an old one."""

    def get(self, *_: object) -> None:
        return None
