"""Storing what goes on where it broke off: cuts, lost answers, and other processes."""

import asyncio
import io
import json
import os
import random
import re

import pytest

from service.client import AsyncMediagate, Mediagate, PutOptions, UploadJournal, patience
from service.client import upload as client_upload
from service.client.checksum import SteppedCrc
from service.errors import (
    BucketNotFound,
    Conflict,
    Invalid,
    MediagateError,
    PreconditionFailed,
    TooLarge,
    UploadGone,
    UploadNotFound,
)
from service.settings import MIB, Limits
from tests.client.breaking_proxy import Cut
from tests.client.stored import fresh_client, store
from tests.web.serving import ROOT_KEY, make_settings, running

SIZE = 12 * MIB
DATA = random.Random(19).randbytes(SIZE)
OPTIONS = PutOptions(user_metadata={"title": "Früh"}, tags={"a": "b c"}, cache_control="max-age=5")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def journal(tmp_path):
    return UploadJournal(tmp_path / "state" / "uploads")


def entries(tmp_path):
    return sorted((tmp_path / "state" / "uploads").iterdir())


def sent(proxy, method):
    """What stands in the head of each request with that method to an upload."""
    return [taken for taken in proxy.taken if taken.startswith(f"{method} /v1/uploads".encode())]


def offsets(proxy):
    heads = [re.search(rb"Upload-Offset: (\d+)", taken) for taken in sent(proxy, "PATCH")]
    return [int(head[1]) for head in heads if head]


async def read(mediagate, key="a"):
    return await mediagate.get_bytes("films", key)


async def unfinished(mediagate):
    return [upload async for upload in mediagate.uploads()]


@pytest.fixture
async def broken_off(service, proxy, mediagate, film, journal):
    """An upload that another process has left at half its way; its id."""
    async with fresh_client(proxy, patience_s=0) as fresh:
        proxy.cuts = [Cut(), Cut(request_bytes=SIZE // 2)]
        with pytest.raises(MediagateError):
            await put_apart(fresh, proxy, film, journal=journal)
    (upload,) = await unfinished(mediagate)
    proxy.taken[:] = [b""] * len(proxy.taken)
    return upload.id


async def put_apart(fresh, proxy, film, **more):
    """Each request has a connection of its own, so that the cuts meet the PATCHes."""
    fresh._connection._session.connector._force_close = True
    return await fresh.put("films", "a", film, OPTIONS, resumable=True, **more)


async def test_a_file_is_stored_with_its_facts(mediagate, film):
    info = await mediagate.put("films", "a", film, OPTIONS, resumable=True)
    assert info == await mediagate.stat("films", "a")
    assert (info.size_bytes, info.content_type, info.filename) == (SIZE, "video/mp4", "film.mp4")
    assert (info.user_metadata, info.tags) == ({"title": "Früh"}, {"a": "b c"})
    assert info.cache_control == "max-age=5"
    assert await read(mediagate) == DATA
    assert await unfinished(mediagate) == []


@pytest.mark.parametrize(
    ("size", "resumable", "requests"), [(SIZE, None, 1), (SIZE - 1, None, 0), (SIZE, False, 0)]
)
async def test_only_what_is_large_is_resumable_by_itself(
    monkeypatch, proxy, mediagate, size, resumable, requests
):
    monkeypatch.setattr(client_upload, "RESUMABLE_BYTES", SIZE)
    async with fresh_client(proxy) as fresh:
        await put_apart_bytes(fresh, DATA[:size], resumable)
    assert len(sent(proxy, "PATCH")) == requests
    assert await read(mediagate) == DATA[:size]


async def put_apart_bytes(fresh, data, resumable):
    fresh._connection._session.connector._force_close = True
    await fresh.put("films", "a", io.BytesIO(data), resumable=resumable)


async def test_an_empty_source_is_stored(mediagate):
    assert (await mediagate.put("films", "a", b"", resumable=True)).size_bytes == 0


async def test_chunks_cannot_be_resumable(mediagate):
    with pytest.raises(Invalid):
        await mediagate.put("films", "a", iter([b"x"]), resumable=True)


@pytest.mark.parametrize(
    "cuts",
    [
        [Cut(request_bytes=300)],
        [Cut(request_bytes=MIB)],
        [Cut(request_bytes=5 * MIB + 1), Cut(), Cut(request_bytes=MIB)],
        [Cut(request_bytes=SIZE)],
        [Cut(request_bytes=4 * MIB), Cut(answer_bytes=0)],
    ],
)
async def test_it_goes_on_where_the_connection_broke(proxy, mediagate, film, cuts):
    seen = []
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(), *cuts]
        info = await put_apart(
            fresh, proxy, film, progress=lambda done, size: seen.append((done, size))
        )
    assert await read(mediagate) == DATA
    assert info.digests == (await mediagate.stat("films", "a")).digests
    assert len(sent(proxy, "POST")) == 1
    # Whatever reached the service is not sent again: each goes on no less than what passed.
    assert offsets(proxy) == sorted(offsets(proxy))
    breaks = [cut.request_bytes for cut in cuts if cut.request_bytes]
    resent_bytes = sum(breaks) - offsets(proxy)[-1]
    assert resent_bytes <= len(breaks) * 256 * 1024
    assert seen[-1] == (SIZE, SIZE)
    assert (offsets(proxy)[-1], SIZE) in seen


@pytest.mark.parametrize("answer_bytes", [0, 40])
async def test_a_lost_last_answer_is_told_again(service, proxy, mediagate, film, answer_bytes):
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(), Cut(answer_bytes=answer_bytes)]
        info = await put_apart(fresh, proxy, film)
    assert (await mediagate.stat("films", "a")).version == info.version
    assert len(service.blobs.blobs) == 1


async def test_an_upload_is_created_once_though_the_answer_was_lost(proxy, mediagate, film):
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=0)]
        await put_apart(fresh, proxy, film)
    assert len(sent(proxy, "POST")) == 2
    assert await read(mediagate) == DATA
    assert await unfinished(mediagate) == []


async def test_bytes_and_file_objects_go_on_too(proxy, mediagate):
    file = io.BytesIO(b"passed over" + DATA)
    file.seek(len(b"passed over"))
    async with fresh_client(proxy) as fresh:
        fresh._connection._session.connector._force_close = True
        for key, source in (("a", DATA), ("b", file)):
            proxy.cuts = [Cut(), Cut(request_bytes=7 * MIB)]
            await fresh.put("films", key, source, resumable=True)
            assert await read(mediagate, key) == DATA
    assert max(offsets(proxy)) > 6 * MIB


async def test_an_upload_that_is_gone_begins_anew(proxy, mediagate, film):
    ended = False

    def end(done, size):
        nonlocal ended
        if done >= 4 * MIB and not ended:
            ended = True
            ending.append(asyncio.create_task(end_all(mediagate)))

    ending = []
    async with fresh_client(proxy) as fresh:
        await put_apart(fresh, proxy, film, progress=end)
    assert ending
    assert await read(mediagate) == DATA
    assert await unfinished(mediagate) == []


async def end_all(mediagate):
    for upload in await unfinished(mediagate):
        await mediagate.end_upload(upload.id)


async def test_a_refusal_comes_before_the_bytes_and_leaves_nothing(service, mediagate, film):
    await store(service, b"there")
    seen = []
    with pytest.raises(PreconditionFailed):
        await mediagate.put(
            "films", "a", film, PutOptions(create_only=True), resumable=True, progress=seen.append
        )
    with pytest.raises(BucketNotFound):
        await mediagate.put("absent", "a", film, resumable=True)
    assert seen == []
    assert await unfinished(mediagate) == []
    small = make_settings(limits=Limits(max_object_bytes=MIB))
    async with running(small) as other, AsyncMediagate(other.url, ROOT_KEY) as stranger:
        await stranger.make_bucket("films")
        with pytest.raises(TooLarge):
            await stranger.put("films", "a", film, resumable=True)


async def test_a_precondition_that_fails_at_the_end_is_told(service, mediagate, film, journal):
    task = None

    def progress(done, size):
        nonlocal task
        if done >= MIB and task is None:
            task = asyncio.create_task(store(service, b"faster"))

    options = PutOptions(create_only=True)
    with pytest.raises(PreconditionFailed):
        await mediagate.put(
            "films", "a", film, options, resumable=True, journal=journal, progress=progress
        )
    assert await read(mediagate) == b"faster"
    assert await unfinished(mediagate) == []


async def test_a_file_that_changes_meanwhile_is_an_error_and_ends_the_upload(
    proxy, mediagate, film, journal, tmp_path
):
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(), Cut(request_bytes=4 * MIB)]
        with pytest.raises(Conflict, match="was changed"):
            await put_apart(
                fresh,
                proxy,
                film,
                journal=journal,
                progress=lambda done, size: done == 2 * MIB and os.utime(film, (1, 1)),
            )
    assert await unfinished(mediagate) == []
    assert entries(tmp_path) == []


async def test_what_is_given_up_without_a_journal_is_ended(service, proxy, mediagate, film):
    async with fresh_client(proxy, patience_s=0) as fresh:
        proxy.cuts = [Cut(), Cut(request_bytes=4 * MIB)]
        with pytest.raises(MediagateError):
            await put_apart(fresh, proxy, film)
    task = asyncio.create_task(mediagate.put("films", "a", film, resumable=True))
    async with asyncio.timeout(5):
        while not await unfinished(mediagate):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await unfinished(mediagate) == []


async def test_another_process_goes_on(proxy, mediagate, film, journal, broken_off, tmp_path):
    (entry,) = entries(tmp_path)
    assert (entry.stat().st_mode & 0o777, entry.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    told = json.loads(entry.read_bytes())
    assert (told["upload"], told["path"]) == (broken_off, str(film))
    assert ROOT_KEY not in entry.read_text()
    seen = []
    async with fresh_client(proxy) as fresh:
        info = await put_apart(
            fresh, proxy, film, journal=journal, progress=lambda done, size: seen.append(done)
        )
    assert sent(proxy, "POST") == []
    assert seen[0] == offsets(proxy)[0] > SIZE // 2 - MIB
    assert await read(mediagate) == DATA
    assert info.tags == {"a": "b c"}
    assert entries(tmp_path) == []


async def test_another_process_gets_the_answer_that_was_lost(
    service, proxy, mediagate, film, journal, tmp_path
):
    async with fresh_client(proxy, patience_s=0) as fresh:
        proxy.cuts = [Cut(), Cut(answer_bytes=40)]
        with pytest.raises(MediagateError):
            await put_apart(fresh, proxy, film, journal=journal)
    async with asyncio.timeout(5):
        while not service.metadata.versions or await unfinished(mediagate):
            await asyncio.sleep(0.01)
    async with fresh_client(proxy) as fresh:
        await put_apart(fresh, proxy, film, journal=journal)
    assert await read(mediagate) == DATA
    assert len(service.blobs.blobs) == 1
    assert entries(tmp_path) == []


@pytest.mark.parametrize("changed", ["file", "terms", "gone", "damaged"])
async def test_what_is_no_longer_the_same_begins_anew(
    proxy, mediagate, film, journal, broken_off, tmp_path, changed
):
    options = OPTIONS
    if changed == "file":
        film.write_bytes(DATA[::-1])
    elif changed == "terms":
        options = PutOptions(tags={"other": "tags"})
    elif changed == "gone":
        await mediagate.end_upload(broken_off)
    else:
        entries(tmp_path)[0].write_text("{")
    info = await mediagate.put("films", "a", film, options, resumable=True, journal=journal)
    assert await read(mediagate) == (DATA[::-1] if changed == "file" else DATA)
    assert info.tags == options.tags
    assert entries(tmp_path) == []
    left = [upload.id for upload in await unfinished(mediagate)]
    assert left == ([broken_off] if changed == "damaged" else [])


async def test_two_processes_do_not_send_the_same_file(mediagate, film, journal, tmp_path):
    tasks = []

    def progress(done, size):
        if not tasks:
            second = mediagate.put("films", "a", film, resumable=True, journal=journal)
            tasks.append(asyncio.create_task(second))

    await mediagate.put("films", "a", film, resumable=True, journal=journal, progress=progress)
    with pytest.raises(Conflict, match="another transfer"):
        await tasks[0]
    assert entries(tmp_path) == []


async def test_a_journal_that_cannot_be_written_is_gone_without(mediagate, film, tmp_path):
    (tmp_path / "file").touch()
    await mediagate.put(
        "films", "a", film, resumable=True, journal=UploadJournal(tmp_path / "file" / "below")
    )
    assert await read(mediagate) == DATA


async def test_old_entries_are_forgotten(mediagate, film, journal, broken_off, tmp_path):
    (entry,) = entries(tmp_path)
    os.utime(entry, (1, 1))
    await mediagate.put("films", "other", film, resumable=True, journal=journal)
    assert entries(tmp_path) == []


async def test_uploads_are_listed_and_ended(mediagate, broken_off):
    (upload,) = await unfinished(mediagate)
    assert (upload.bucket, upload.key, upload.length_bytes) == ("films", "a", SIZE)
    assert upload.url.endswith(upload.id)
    assert upload.expires_at > upload.created_at
    await mediagate.end_upload(upload.id)
    assert await unfinished(mediagate) == []
    with pytest.raises(UploadGone):
        await mediagate.end_upload(upload.id)
    with pytest.raises(UploadNotFound):
        await mediagate.end_upload("no/such")


async def test_the_blocking_client_does_it_too(service, mediagate, film, journal):
    def work():
        with Mediagate(service.url, ROOT_KEY) as blocking:
            info = blocking.put("films", "a", film, resumable=True, journal=journal)
            assert list(blocking.uploads()) == []
            return info

    assert (await asyncio.to_thread(work)).size_bytes == SIZE


async def test_a_service_without_resumable_uploads_gets_a_plain_put(
    monkeypatch, aiohttp_server, film
):
    from aiohttp import web

    async def put(request):
        size = len(await request.read())
        times = dict.fromkeys(("created_at", "modified_at"), "2026-01-01T00:00:00.000Z")
        facts = {"bucket": "films", "key": "a", "version": "v", "etag": '"v"'}
        return web.json_response(facts | times | {"size_bytes": size, "content_type": "x/y"})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_put("/v1/buckets/{path:.*}", put)
    server = await aiohttp_server(app)
    monkeypatch.setattr(client_upload, "RESUMABLE_BYTES", MIB)
    async with AsyncMediagate(str(server.make_url("")), "k") as mediagate:
        assert (await mediagate.put("films", "a", film)).size_bytes == SIZE
        with pytest.raises(MediagateError) as caught:
            await mediagate.put("films", "a", film, resumable=True)
    assert caught.value.code == "not_resumable"


def test_a_sum_goes_back_to_any_place_by_what_lies_near_it():
    crc = SteppedCrc()
    for start in range(0, 40 * MIB, MIB):
        crc.update(DATA[start % SIZE :][:MIB])
    whole = crc.digest()
    for place in (39 * MIB, 17 * MIB, 5):
        crc.go_back(place)
        assert place - 16 * MIB <= crc.size_bytes <= place
        at = crc.size_bytes
        for start in range(at, 40 * MIB, MIB):
            crc.update(DATA[start % SIZE :][:MIB])
        assert crc.digest() == whole
