"""What S3BlobStore promises when the store, the network or a reader fails it."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from blob_fixtures import OpenStore
from blobs import Multipart, crc_of, put, read, some_chunks
from lossy_proxy import lossy_proxy
from s3_servers import S3Server, wait_for

from service.errors import OutcomeUnknown, StoreTimeout, StoreUnavailable
from service.model.blob import PartChecksum
from service.model.ids import DEFAULT_TENANT
from service.settings import MIB, S3
from service.stores.blob_layout import new_blob_key
from service.stores.s3 import open_blob_store


@pytest.mark.parametrize("algorithm", list(PartChecksum))
async def test_each_part_checksum_works_and_is_verified(
    s3_server: S3Server, open_store: OpenStore, algorithm: PartChecksum
) -> None:
    store = await open_store(s3_server.settings(part_checksum=algorithm.value))
    abilities = await store.probe()
    assert (abilities.part_checksum, abilities.problems) == (algorithm, ())
    multipart = Multipart(store)
    await multipart.upload()
    await multipart.complete()
    assert await multipart.read_back() == multipart.data
    key = await put(store, some_chunks(1000))
    assert (await store.head(key)).size_bytes == 1000


@pytest.mark.parametrize(
    ("option", "word"), [({}, "versioning"), ({"ObjectLockEnabledForBucket": True}, "object lock")]
)
async def test_versioning_or_lock_on_the_bucket_is_a_problem(
    s3_server: S3Server, open_store: OpenStore, option, word: str
) -> None:
    store = await open_store(s3_server.settings())
    bucket = f"kept-{secrets.token_hex(4)}"
    client = store._clients.once
    await client.create_bucket(Bucket=bucket, **option)
    if not option:
        await client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    kept = await open_store(s3_server.settings(bucket=bucket))
    problems = (await kept.probe()).problems
    assert any(word in problem and "DELETE" in problem for problem in problems), problems


async def test_wrong_credentials_are_unavailable_with_the_reason(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    await open_store(s3_server.settings())
    store = await open_blob_store(s3_server.settings(secret_key="wrong-secret"))
    try:
        with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
            await put(store, some_chunks(10))
        with pytest.raises(StoreUnavailable, match="403"):
            await store.ping()
    finally:
        await store.close()


async def test_missing_bucket_is_no_missing_blob(s3_server: S3Server) -> None:
    store = await open_blob_store(s3_server.settings(bucket="never-made"))
    try:
        with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
            await read(store, new_blob_key(DEFAULT_TENANT), 0, 1)
    finally:
        await store.close()


async def test_store_that_ignores_checksums_is_found_out(open_store: OpenStore) -> None:
    """It takes whatever it is sent and says that all is well."""
    taken: list[str] = []

    async def take_anything(request: web.Request) -> web.Response:
        taken.append(request.method)
        await request.read()
        if request.method == "GET":
            raise web.HTTPNotImplemented
        if request.method == "POST" and "uploads" in request.query:
            return web.Response(
                text="<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        return web.Response(
            status=204 if request.method == "DELETE" else 200, headers={"ETag": "e"}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take_anything)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        store = await open_store(S3(endpoint=f"http://127.0.0.1:{port}"))
        abilities = await store.probe()
    finally:
        await runner.cleanup()
    assert any("does not verify" in problem for problem in abilities.problems)
    assert taken.count("DELETE") >= 3  # each probe key is removed again


@pytest.mark.parametrize("algorithm", list(PartChecksum))
async def test_another_process_set_otherwise_completes_the_multipart(
    s3_server: S3Server, open_store: OpenStore, algorithm: PartChecksum
) -> None:
    multipart = Multipart(await open_store(s3_server.settings(part_checksum=algorithm.value)))
    await multipart.upload()
    multipart.store = await open_store(s3_server.settings(part_checksum="auto"))
    await multipart.complete()
    assert await multipart.read_back() == multipart.data


async def test_cancelled_reads_give_their_connections_back(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(s3_server.settings(max_connections=2, max_downloads=2))
    chunks = some_chunks(8 * MIB)
    key = await put(store, chunks)

    async def stall() -> None:
        async with store.read(key, 0, 8 * MIB) as body:
            await anext(body)
            await asyncio.Event().wait()

    for _ in range(5):
        readers = [asyncio.create_task(stall()) for _ in range(2)]
        await asyncio.sleep(0.1)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert await read(store, key, 0, 8 * MIB) == b"".join(chunks)


async def test_200_parallel_reads_share_a_pool_of_16_and_leak_nothing(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(
            s3_server.settings(endpoint=proxy.endpoint, max_connections=16, max_downloads=16)
        )
        chunks = some_chunks(300_000)
        key = await put(store, chunks)

        async def one(index: int) -> None:
            if index % 3 == 0:  # leaves in the middle
                async with store.read(key, 0, 300_000) as body:
                    await anext(body)
            else:
                assert await read(store, key, index, 300_000) == b"".join(chunks)[index:]

        async with asyncio.TaskGroup() as group:
            for index in range(200):
                group.create_task(one(index))
        # The pool's, and one of each of the other two.
        await wait_for(lambda: proxy.open_connections <= 16 + 2)
        async with asyncio.timeout(5), AsyncExitStack() as all_at_once:
            for _ in range(16):
                body = await all_at_once.enter_async_context(store.read(key, 0, 300_000))
                await anext(body)


async def test_readers_that_hold_the_whole_pool_starve_no_upload(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(s3_server.settings(max_connections=2, max_downloads=2))
    key = await put(store, some_chunks(8 * MIB))
    async with store.read(key, 0, 8 * MIB) as one, store.read(key, 0, 8 * MIB) as other:
        await anext(one), await anext(other)
        async with asyncio.timeout(3):
            assert await store.head(await put(store, some_chunks(1000))) is not None


async def test_chunks_are_let_go_after_success_and_after_failure(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(s3_server.settings())
    await store.probe()
    key = new_blob_key(DEFAULT_TENANT)
    multipart_id = await store.create_multipart(key)
    chunks = some_chunks(1_000_000)
    crc, before = crc_of(chunks), [sys.getrefcount(chunk) for chunk in chunks]
    await store.upload_part(key, multipart_id, 1, chunks, crc)
    assert [sys.getrefcount(chunk) for chunk in chunks] == before
    with pytest.raises(StoreUnavailable) as kept_on_purpose:
        await store.upload_part(key, multipart_id, 1, chunks, bytes(8))
    assert [sys.getrefcount(chunk) for chunk in chunks] == before
    assert kept_on_purpose.value.__cause__ is not None
    await store.abort(key, multipart_id)


async def test_lost_answers_of_writes_are_unknown_and_create_and_complete_are_sent_once(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.endpoint))
        await store.probe()
        multipart = Multipart(store)
        await multipart.upload()
        key, chunks = new_blob_key(DEFAULT_TENANT), some_chunks(100_000)
        proxy.lose_answers = True
        proxy.requests.clear()
        with pytest.raises(OutcomeUnknown):
            await multipart.complete()
        assert proxy.requests == ["POST"]
        with pytest.raises(OutcomeUnknown):
            await store.create_multipart(key)
        assert proxy.requests == ["POST", "POST"]
        with pytest.raises(OutcomeUnknown):
            await store.put(key, chunks, crc_of(chunks))
        proxy.lose_answers = False
        # All of them had been done.
        assert await multipart.read_back() == multipart.data
        assert await read(store, key, 0, 100_000) == b"".join(chunks)
        for lost in await store.list_multiparts(key):
            await store.abort(key, lost)


async def test_part_whose_connection_breaks_is_sent_again_from_its_start(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.endpoint))
        multipart = Multipart(store)
        proxy.cut_uploads = 1
        await multipart.upload()
        assert proxy.cut_uploads == 0
        await multipart.complete()
        assert await multipart.read_back() == multipart.data


async def test_read_never_ends_early_without_an_error(
    s3_server: S3Server, open_store: OpenStore
) -> None:
    async with lossy_proxy(s3_server.endpoint) as proxy:
        store = await open_store(s3_server.settings(endpoint=proxy.endpoint))
        chunks = some_chunks(4 * MIB)
        key = await put(store, chunks)
        proxy.cut_downloads_after = MIB
        got = bytearray()
        async with store.read(key, 0, 4 * MIB) as body:
            with pytest.raises(StoreUnavailable):  # noqa: PT012 - the last of many
                while True:
                    got += await anext(body)
        assert 0 < len(got) < 4 * MIB
        assert b"".join(chunks).startswith(got)


async def test_refused_connection_is_known_not_to_have_done_anything(open_store: OpenStore) -> None:
    store = await open_blob_store(S3(endpoint="http://127.0.0.1:9"))
    try:
        results = await asyncio.gather(
            put(store, some_chunks(1000)),
            put(store, []),
            store.create_multipart(new_blob_key(DEFAULT_TENANT)),
            store.head(new_blob_key(DEFAULT_TENANT)),
            return_exceptions=True,
        )
    finally:
        await store.close()
    assert [type(result) for result in results] == [StoreUnavailable] * 4


@pytest.mark.timeout(60)
async def test_stopped_store_is_never_waited_for_past_the_deadline(
    mortal_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(mortal_server.settings(request_timeout_s=1.5))
    key = await put(store, some_chunks(32 * MIB))
    multipart = Multipart(store)
    await multipart.upload()

    async def read_slowly() -> None:
        async with store.read(key, 0, 32 * MIB) as body:
            await anext(body)
            begun.set()
            await paused.wait()
            async for _ in body:
                pass

    begun, paused = asyncio.Event(), asyncio.Event()
    reader = asyncio.create_task(read_slowly())
    await begun.wait()
    with mortal_server.frozen():
        started_at = time.monotonic()
        paused.set()
        # A body has a second more for each MiB.
        calls = {
            "head": (store.head(key), StoreTimeout),
            "read": (read(store, key, 0, 10), StoreTimeout),
            "read, begun": (reader, StoreTimeout),
            "delete": (store.delete(new_blob_key(DEFAULT_TENANT)), OutcomeUnknown),
            "abort": (store.abort(multipart.key, multipart.id), OutcomeUnknown),
            "complete": (multipart.complete(), OutcomeUnknown),
            "create": (store.create_multipart(key), OutcomeUnknown),
            "put": (put(store, some_chunks(1000)), StoreUnavailable),
        }
        results = await asyncio.gather(
            *(call for call, _ in calls.values()), return_exceptions=True
        )
        assert time.monotonic() - started_at < 1.5 + 5
    for (name, (_, expected)), result in zip(calls.items(), results, strict=True):
        assert isinstance(result, expected), (name, result)


@pytest.mark.timeout(60)
async def test_killed_store_fails_what_runs_and_serves_again_after_its_return(
    mortal_server: S3Server, open_store: OpenStore
) -> None:
    store = await open_store(mortal_server.settings(request_timeout_s=5))
    key = await put(store, some_chunks(1000))
    big = some_chunks(64 * MIB)
    crc = crc_of(big)
    multipart_id = await store.create_multipart(new_key := new_blob_key(DEFAULT_TENANT))
    part = asyncio.create_task(store.upload_part(new_key, multipart_id, 1, big, crc))
    await asyncio.sleep(0.05)
    mortal_server.kill()
    started_at = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await part
    with pytest.raises(StoreUnavailable):
        await store.head(key)
    assert time.monotonic() - started_at < 12
    mortal_server.start()
    async with asyncio.timeout(25):
        while True:  # SeaweedFS is healthy before its volumes have registered
            try:
                assert len(await read(store, key, 0, 1000)) == 1000
                break
            except StoreUnavailable:
                await asyncio.sleep(0.2)
