"""Storing: files that are sent again, streams that are not, and deletes."""

import asyncio
import os
import random

import pytest
from aiohttp import web

from service.client import AsyncMediagate, Timeouts, Unreachable
from service.client.upload import PutOptions
from service.errors import (
    BucketNotFound,
    Conflict,
    DigestMismatch,
    Invalid,
    PreconditionFailed,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
)
from service.settings import MIB, Limits
from tests.client.breaking_proxy import Cut
from tests.client.stored import fresh_client
from tests.web.serving import ROOT_KEY, make_settings, running

DATA = random.Random(13).randbytes(5 * MIB)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(DATA)
    return path


async def chunks(*parts, error=None):
    for part in parts:
        yield part
    if error:
        raise error


async def read(mediagate, key="a"):
    async with mediagate.get("films", key) as download:
        return b"".join([chunk async for chunk in download])


async def keys(mediagate):
    return [item.key async for page in mediagate.pages("films") for item in page.items]


def attempts(proxy):
    return [taken for taken in proxy.taken if taken.startswith(b"PUT /v1/buckets/films/objects")]


def idempotency_keys(proxy):
    return {
        line
        for taken in attempts(proxy)
        for line in taken.split(b"\r\n")
        if line.startswith(b"Idempotency-Key: ")
    }


async def test_a_file_is_stored_with_its_facts(mediagate, film):
    options = PutOptions(
        user_metadata={"title": "Früh"}, tags={"a": "b c"}, cache_control="max-age=5"
    )
    info = await mediagate.put("films", "a", film, options)
    assert info == await mediagate.stat("films", "a")
    assert (info.size_bytes, info.content_type, info.filename) == (5 * MIB, "video/mp4", "film.mp4")
    assert (info.user_metadata, info.tags) == ({"title": "Früh"}, {"a": "b c"})
    assert info.cache_control == "max-age=5"
    assert await read(mediagate) == DATA


async def test_an_empty_file_and_an_empty_stream_are_stored(mediagate, tmp_path):
    (tmp_path / "empty").touch()
    assert (await mediagate.put("films", "a", tmp_path / "empty")).size_bytes == 0
    assert (await mediagate.put("films", "b", chunks())).size_bytes == 0
    assert await keys(mediagate) == ["a", "b"]


async def test_a_stream_of_unknown_length_is_stored(mediagate):
    info = await mediagate.put("films", "a", chunks(DATA[:MIB], DATA[MIB:]))
    assert info.size_bytes == len(DATA)
    assert await read(mediagate) == DATA


async def test_progress_counts_the_bytes_taken(mediagate, film):
    seen = []
    await mediagate.put("films", "a", film, progress=lambda done, size: seen.append((done, size)))
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


@pytest.mark.parametrize("sent", [200, MIB, 3 * MIB])
async def test_a_file_is_sent_again_under_the_same_key(proxy, mediagate, film, sent):
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(request_bytes=sent), Cut(request_bytes=sent + MIB)]
        await fresh.put("films", "a", film)
        assert await read(fresh) == DATA
    assert len(attempts(proxy)) >= 2
    assert len(idempotency_keys(proxy)) == 1


async def test_a_lost_answer_does_not_store_twice(service, proxy, mediagate, film):
    async with fresh_client(proxy) as fresh:
        # The 100 passes, the 201 does not.
        proxy.cuts = [Cut(answer_bytes=40)]
        info = await fresh.put("films", "a", film)
    assert len(attempts(proxy)) >= 2
    assert (await mediagate.stat("films", "a")).version == info.version
    assert len(service.blobs.blobs) == 1


async def test_a_stream_that_breaks_is_told_and_stores_nothing(service, proxy, mediagate):
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(request_bytes=MIB)]
        with pytest.raises(Unreachable):
            await fresh.put("films", "a", chunks(DATA[:MIB], DATA[MIB:]))
    assert len(attempts(proxy)) == 1
    assert await keys(mediagate) == []


async def test_an_error_of_the_source_is_that_error_and_stores_nothing(mediagate):
    with pytest.raises(ZeroDivisionError):
        await mediagate.put("films", "a", chunks(DATA, error=ZeroDivisionError()))
    assert await keys(mediagate) == []


async def test_a_refused_stream_is_not_read(proxy, mediagate):
    read = []

    async def source():
        read.append(1)
        yield b"x"

    with pytest.raises(BucketNotFound):
        await mediagate.put("absent", "a", source())
    async with AsyncMediagate(proxy.url, "wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.put("films", "a", source())
    assert read == []


async def test_create_only_leaves_what_is_there(mediagate, film):
    options = PutOptions(create_only=True)
    await mediagate.put("films", "a", film, options)
    with pytest.raises(PreconditionFailed):
        await mediagate.put("films", "a", chunks(b"other"), options)
    assert await read(mediagate) == DATA


async def test_a_file_that_is_too_large_is_refused_before_it_is_sent(film):
    small = make_settings(limits=Limits(max_object_bytes=MIB))
    async with running(small) as service, AsyncMediagate(service.url, ROOT_KEY) as mediagate:
        await mediagate.make_bucket("films")
        seen = []
        with pytest.raises(TooLarge):
            await mediagate.put("films", "a", film, progress=lambda *told: seen.append(told))
        assert seen == []


async def test_a_file_that_shrinks_while_it_is_sent_is_an_error(mediagate, film):
    def progress(done, size):
        if done == MIB:
            os.truncate(film, 2 * MIB)

    with pytest.raises(Conflict, match="became shorter"):
        await mediagate.put("films", "a", film, progress=progress)
    assert await keys(mediagate) == []


async def test_a_file_that_changes_while_it_is_sent_is_an_error(mediagate, film):
    def progress(done, size):
        if done == MIB:
            os.utime(film, (1, 1))

    with pytest.raises(Conflict, match="was changed"):
        await mediagate.put("films", "a", film, progress=progress)


async def test_a_file_that_is_not_there_is_an_error_of_the_file(mediagate, tmp_path):
    with pytest.raises(FileNotFoundError):
        await mediagate.put("films", "a", tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        await mediagate.put("films", "a", tmp_path)


async def test_a_header_cannot_be_smuggled_in(mediagate, film):
    with pytest.raises(Invalid):
        await mediagate.put("films", "a", film, PutOptions(content_type="text/plain\r\nX-Evil: 1"))


async def test_delete_is_idempotent(mediagate, film):
    await mediagate.put("films", "a", film)
    await mediagate.delete("films", "a")
    await mediagate.delete("films", "a")
    assert await keys(mediagate) == []
    await mediagate.delete_bucket("films")
    assert [bucket async for bucket in mediagate.buckets()] == []


async def test_a_delete_is_sent_once(proxy, mediagate, film):
    await mediagate.put("films", "a", film)
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=0)]
        with pytest.raises(Unreachable):
            await fresh.delete("films", "a")
    assert len([taken for taken in proxy.taken if taken.startswith(b"DELETE")]) == 1


# --- a service that misbehaves on purpose ---


class Scripted:
    """Answers PUTs as it is told to."""

    def __init__(self):
        self.answers = []
        self.keys = []

    async def put(self, request):
        self.keys.append(request.headers.get("Idempotency-Key"))
        body = await request.read()
        status, more, headers = self.answers.pop(0)
        if status >= 300:
            return web.json_response(more, status=status, headers=headers)
        told = {
            "bucket": "films",
            "key": "a",
            "version": "v",
            "etag": '"v"',
            "size_bytes": len(body),
            "content_type": "x/y",
            "created_at": "2026-01-01T00:00:00.000Z",
            "modified_at": "2026-01-01T00:00:00.000Z",
        }
        return web.json_response(told | more, status=status)


@pytest.fixture
async def scripted(aiohttp_server):
    service = Scripted()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_put("/{path:.*}", service.put)
    server = await aiohttp_server(app)
    service.url = str(server.make_url(""))
    return service


def short(scripted, **timeouts):
    return AsyncMediagate(scripted.url, "k", timeouts=Timeouts(**({"patience_s": 3} | timeouts)))


async def test_503_and_a_first_attempt_under_way_are_waited_for(scripted, film):
    notices = []
    scripted.answers = [
        (503, {"code": "store_unavailable"}, {"Retry-After": "0"}),
        (409, {"code": "request_in_progress"}, {"Retry-After": "1"}),
        (201, {}, {}),
    ]
    async with AsyncMediagate(
        scripted.url, "k", on_retry=lambda error, pause_s: notices.append((error.code, pause_s))
    ) as mediagate:
        await mediagate.put("films", "a", film)
    assert len(set(scripted.keys)) == 1
    assert [code for code, _ in notices] == ["store_unavailable", "request_in_progress"]
    assert notices[1][1] >= 1


async def test_patience_ends_with_the_error_of_the_service(scripted, film):
    scripted.answers = [(503, {"code": "store_timeout", "detail": "slow"}, {})] * 20
    async with short(scripted, patience_s=0.5) as mediagate:
        with pytest.raises(StoreUnavailable, match="slow") as caught:
            await mediagate.put("films", "a", film)
    assert caught.value.code == "store_timeout"


async def test_a_digest_of_other_bytes_is_an_error(scripted, film):
    wrong = {"digests": {"crc64nvme": "AAAAAAAAAAA="}}
    scripted.answers = [(201, wrong, {})]
    async with short(scripted) as mediagate:
        with pytest.raises(DigestMismatch):
            await mediagate.put("films", "a", film)


async def test_a_refusal_is_not_tried_again(scripted, film):
    scripted.answers = [(507, {"code": "store_full", "detail": "no room"}, {})]
    async with short(scripted) as mediagate:
        with pytest.raises(Exception, match="no room") as caught:
            await mediagate.put("films", "a", film)
    assert caught.value.code == "store_full"


async def test_a_page_of_a_proxy_is_an_error_by_its_status(aiohttp_server, film):
    async def unavailable(request):
        return web.Response(status=413, text="<html>too large</html>", content_type="text/html")

    app = web.Application()
    app.router.add_put("/{path:.*}", unavailable)
    server = await aiohttp_server(app)
    async with AsyncMediagate(str(server.make_url("")), "k") as mediagate:
        with pytest.raises(TooLarge, match="413"):
            await mediagate.put("films", "a", chunks(b"x"))


async def test_a_service_that_takes_nothing_is_given_up(film):
    async def silent(reader, writer):
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    timeouts = Timeouts(idle_s=0.2, patience_s=0.3)
    async with (
        server,
        AsyncMediagate(f"http://127.0.0.1:{port}", "k", timeouts=timeouts) as mediagate,
    ):
        with pytest.raises(Unreachable, match="too long"):
            await asyncio.wait_for(mediagate.put("films", "a", film), 3)


async def test_a_source_that_gives_nothing_for_long_is_waited_for(service):
    async def slow():
        yield b"a"
        await asyncio.sleep(0.5)
        yield b"b"

    timeouts = Timeouts(idle_s=0.2)
    async with AsyncMediagate(service.url, ROOT_KEY, timeouts=timeouts) as mediagate:
        await mediagate.make_bucket("films")
        assert (await mediagate.put("films", "a", slow())).size_bytes == 2
