"""Reading: streams and files, over connections that break."""

import asyncio
import random
from contextlib import aclosing

import pytest
from aiohttp import web

from service.client import AsyncMediagate, UnexpectedAnswer, Unreachable
from service.errors import (
    Conflict,
    DigestMismatch,
    Invalid,
    InvalidKey,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    Unauthenticated,
)
from service.settings import MIB
from tests.client.breaking_proxy import Cut
from tests.client.stored import fresh_client, store

DATA = random.Random(11).randbytes(5 * MIB)


async def read(mediagate, key="a", **what):
    async with mediagate.get("films", key, **what) as download:
        return b"".join([chunk async for chunk in download])


async def test_a_stream_is_the_whole_object_and_tells_its_facts(service, mediagate):
    version = await store(service, DATA, content_type="video/mp4")
    async with mediagate.get("films", "a") as download:
        assert (download.start, download.end, download.size_bytes) == (0, len(DATA), len(DATA))
        assert download.etag == f'"{version.id}"'
        assert download.content_type == "video/mp4"
        assert download.digests["crc64nvme"] == version.digests["crc64nvme"]
        assert b"".join([chunk async for chunk in download]) == DATA


@pytest.mark.parametrize(("start", "end"), [(0, 1), (17, 4 * MIB), (5, None), (5 * MIB - 1, None)])
async def test_a_range_is_half_open(service, mediagate, start, end):
    await store(service, DATA)
    assert await read(mediagate, start=start, end=end) == DATA[start:end]


async def test_an_empty_object_is_read(service, mediagate):
    await store(service, b"")
    assert await read(mediagate) == b""


async def test_a_key_is_sent_as_it_is(service, mediagate):
    key = "ä b/%2e%2e+?#&=;,@.txt"
    await store(service, b"hello", key=key)
    assert await read(mediagate, key) == b"hello"
    assert (await mediagate.stat("films", key)).key == key


async def test_encoded_content_comes_as_it_is_stored(service, mediagate):
    await store(service, b"no gzip at all", content_encoding="gzip")
    assert await read(mediagate) == b"no gzip at all"


async def test_a_broken_stream_goes_on_by_range(service, proxy, mediagate):
    await store(service, DATA)
    async with fresh_client(proxy) as fresh:
        proxy.taken.clear()
        proxy.cuts = [Cut(answer_bytes=MIB), Cut(answer_bytes=50), Cut(answer_bytes=2 * MIB)]
        assert await read(fresh) == DATA
    later = [taken for taken in proxy.taken if b"Range: bytes=" in taken]
    assert len(later) == 3
    assert all(b'If-Match: "' in taken for taken in later)


async def test_a_broken_range_goes_on_within_its_end(service, proxy, mediagate):
    await store(service, DATA)
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=MIB)]
        assert await read(fresh, start=100, end=3 * MIB) == DATA[100 : 3 * MIB]


async def test_a_stream_never_mixes_two_versions(service, proxy, mediagate):
    await store(service, DATA)
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=MIB)]
        async with fresh.get("films", "a") as download, aclosing(download.chunks()) as chunks:
            await anext(chunks)
            await store(service, DATA[::-1])
            with pytest.raises(PreconditionFailed):
                _ = [chunk async for chunk in chunks]


async def test_a_service_that_stays_away_ends_patience(service, proxy, mediagate):
    await store(service, DATA)
    async with fresh_client(proxy, patience_s=0.5) as fresh:
        proxy.cuts = [Cut(answer_bytes=MIB), *[Cut(answer_bytes=0)] * 50]
        with pytest.raises(Unreachable, match="connection broke"):
            await read(fresh)


async def test_nobody_listening_is_told_at_once(unused_tcp_port):
    async with AsyncMediagate(f"http://127.0.0.1:{unused_tcp_port}", "k") as nobody:
        with pytest.raises(Unreachable, match="no connection"):
            await asyncio.wait_for(read(nobody), 2)


@pytest.mark.parametrize(
    ("key", "what", "error"),
    [
        ("absent", {}, ObjectNotFound),
        ("a/../b", {}, InvalidKey),
        ("a", {"start": 100}, RangeNotSatisfiable),
        ("a", {"start": 3, "end": 3}, Invalid),
    ],
)
async def test_what_cannot_be_read_is_an_error_of_the_tree(service, mediagate, key, what, error):
    await store(service, b"short")
    with pytest.raises(error):
        await read(mediagate, key, **what)


async def test_an_error_tells_its_request(mediagate):
    with pytest.raises(ObjectNotFound) as caught:
        await read(mediagate)
    assert caught.value.extras["status"] == 404
    assert caught.value.extras["request_id"]


async def test_a_wrong_key_is_unauthenticated(proxy):
    async with AsyncMediagate(proxy.url, "wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.stat("films", "a")


async def test_something_else_listening_is_no_service(aiohttp_server):
    async def hello(request):
        return web.Response(text="hello", status=418)

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    server = await aiohttp_server(app)
    async with AsyncMediagate(str(server.make_url("")), "k") as lost:
        with pytest.raises(UnexpectedAnswer, match="418"):
            await lost.stat("films", "a")


# --- into a file ---


def parts(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


async def test_a_file_appears_whole_and_leaves_no_part(service, mediagate, tmp_path):
    await store(service, DATA)
    seen = []
    await mediagate.get_to_file(
        "films", "a", tmp_path / "film", progress=lambda done, size: seen.append((done, size))
    )
    assert (tmp_path / "film").read_bytes() == DATA
    assert parts(tmp_path) == []
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))


async def test_an_empty_file_appears(service, mediagate, tmp_path):
    await store(service, b"")
    await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == b""
    assert parts(tmp_path) == []


async def test_a_file_survives_breaks(service, proxy, mediagate, tmp_path):
    await store(service, DATA)
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=MIB), Cut(answer_bytes=100), Cut(answer_bytes=2 * MIB)]
        await fresh.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA


async def broken_off(service, proxy, tmp_path):
    """A part of a film of which about 2 MiB have arrived."""
    async with fresh_client(proxy, patience_s=0.2) as fresh:
        proxy.cuts = [Cut(answer_bytes=2 * MIB), *[Cut(answer_bytes=0)] * 20]
        with pytest.raises(Unreachable):
            await fresh.get_to_file("films", "a", tmp_path / "film")
    proxy.cuts = []
    proxy.taken.clear()
    assert not (tmp_path / "film").exists()
    (name,) = parts(tmp_path)
    return tmp_path / name


async def test_a_later_call_goes_on_where_the_first_broke_off(service, proxy, mediagate, tmp_path):
    version = await store(service, DATA)
    part = await broken_off(service, proxy, tmp_path)
    assert part.name == f"film.{version.id}.part"
    size = part.stat().st_size
    assert MIB < size < 3 * MIB
    async with fresh_client(proxy) as fresh:
        await fresh.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA
    assert parts(tmp_path) == []
    assert f"Range: bytes={size - 1}-".encode() in proxy.taken[0]
    assert f'If-Range: "{version.id}"'.encode() in proxy.taken[0]


async def test_a_part_that_lacks_only_the_rename_is_finished(service, mediagate, tmp_path):
    version = await store(service, DATA)
    (tmp_path / f"film.{version.id}.part").write_bytes(DATA)
    await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA


async def test_a_part_of_another_version_is_begun_again(service, proxy, mediagate, tmp_path):
    await store(service, DATA)
    await broken_off(service, proxy, tmp_path)
    await store(service, DATA[::-1])
    await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA[::-1]
    assert parts(tmp_path) == []


async def test_an_object_replaced_in_mid_transfer_is_begun_again(
    service, proxy, mediagate, tmp_path
):
    await store(service, DATA)
    replaced = False

    def progress(done, size):
        nonlocal replaced
        if done > MIB and not replaced:
            replaced = True
            asyncio.get_running_loop().create_task(store(service, DATA[::-1]))

    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=2 * MIB)]
        await fresh.get_to_file("films", "a", tmp_path / "film", progress=progress)
    assert (tmp_path / "film").read_bytes() == DATA[::-1]


async def test_a_spoilt_part_is_thrown_away(service, proxy, mediagate, tmp_path):
    await store(service, DATA)
    part = await broken_off(service, proxy, tmp_path)
    with part.open("r+b") as file:
        file.write(bytes(1000))
    await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA
    assert parts(tmp_path) == []


async def test_a_part_longer_than_its_version_is_thrown_away(service, mediagate, tmp_path):
    version = await store(service, DATA)
    (tmp_path / f"film.{version.id}.part").write_bytes(DATA + b"more")
    await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert (tmp_path / "film").read_bytes() == DATA


async def test_wrong_bytes_of_the_service_never_become_a_file(service, mediagate, tmp_path):
    version = await store(service, DATA)
    blobs = service.blobs
    spoilt = bytearray(DATA)
    spoilt[1000] ^= 1
    blobs.blobs[version.blob_key] = bytes(spoilt)
    with pytest.raises(DigestMismatch):
        await mediagate.get_to_file("films", "a", tmp_path / "film")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DigestMismatch):
        await read(mediagate)


async def test_two_transfers_into_one_file_do_not_mix(service, mediagate, tmp_path):
    await store(service, DATA)
    met = None

    async def second():
        nonlocal met
        try:
            await mediagate.get_to_file("films", "a", tmp_path / "film")
        except Conflict as error:
            met = error

    other = None

    def progress(done, size):
        nonlocal other
        if other is None and done:
            other = asyncio.get_running_loop().create_task(second())

    await mediagate.get_to_file("films", "a", tmp_path / "film", progress=progress)
    await other
    assert met is None or "another transfer" in met.detail
    assert (tmp_path / "film").read_bytes() == DATA


async def test_a_cancelled_transfer_keeps_what_came(service, mediagate, tmp_path):
    await store(service, DATA)
    task = None

    def progress(done, size):
        if done > 2 * MIB:
            task.cancel()

    task = asyncio.create_task(
        mediagate.get_to_file("films", "a", tmp_path / "film", progress=progress)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    (name,) = parts(tmp_path)
    kept = (tmp_path / name).read_bytes()
    assert len(kept) > 2 * MIB
    assert DATA.startswith(kept)


async def test_a_folder_that_is_not_there_is_an_error_of_the_file(service, mediagate, tmp_path):
    await store(service, DATA)
    with pytest.raises(FileNotFoundError):
        await mediagate.get_to_file("films", "a", tmp_path / "nowhere" / "film")
