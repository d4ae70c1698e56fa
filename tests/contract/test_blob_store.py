"""The promises of the BlobStore port, kept by every implementation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from blobs import Multipart, crc_of, put, read, some_chunks

from service.errors import BlobMissing, OutcomeUnknown, StoreRefused, StoreUnavailable
from service.model.blob import PartChecksum
from service.model.ids import DEFAULT_TENANT, BlobKey, TenantId
from service.settings import MIB
from service.stores.blob_layout import PREFIX, new_blob_key
from service.stores.ports import BlobStore


async def test_blob_put_in_chunks_reads_back_byte_for_byte(blob_store: BlobStore) -> None:
    chunks = some_chunks(1_000_003)
    key = await put(blob_store, chunks)
    assert await read(blob_store, key, 0, 1_000_003) == b"".join(chunks)
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.size_bytes == 1_000_003
    assert facts.crc64nvme in (None, crc_of(chunks))


async def test_empty_blob_is_a_blob(blob_store: BlobStore) -> None:
    key = await put(blob_store, [])
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.size_bytes == 0


async def test_put_again_of_the_same_bytes_changes_nothing(blob_store: BlobStore) -> None:
    chunks = some_chunks(1000)
    key = await put(blob_store, chunks)
    await blob_store.put(key, chunks, crc_of(chunks))
    assert await read(blob_store, key, 0, 1000) == b"".join(chunks)


async def test_put_with_wrong_crc_is_refused_and_nothing_is_stored(blob_store: BlobStore) -> None:
    key = new_blob_key(DEFAULT_TENANT)
    with pytest.raises(StoreUnavailable) as caught:
        await blob_store.put(key, some_chunks(100_000), bytes(8))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert await blob_store.head(key) is None


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, 3 * MIB), (1, 2), (3 * MIB - 1, 3 * MIB), (65_521, 2 * MIB + 7), (MIB, 2 * MIB)],
)
async def test_range_is_exact(blob_store: BlobStore, start: int, end: int) -> None:
    chunks = some_chunks(3 * MIB)
    key = await put(blob_store, chunks)
    async with blob_store.read(key, start, end) as body:
        got = [chunk async for chunk in body]
    assert b"".join(got) == b"".join(chunks)[start:end]
    assert all(0 < len(chunk) <= MIB for chunk in got)


async def test_read_of_a_missing_blob_says_so_on_entering(blob_store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await read(blob_store, new_blob_key(DEFAULT_TENANT), 0, 1)


@pytest.mark.parametrize(("start", "end"), [(0, 1001), (500, 1500), (1000, 1001), (5000, 6000)])
async def test_read_past_the_end_is_an_error(blob_store: BlobStore, start: int, end: int) -> None:
    key = await put(blob_store, some_chunks(1000))
    with pytest.raises(BlobMissing):
        await read(blob_store, key, start, end)


async def test_read_of_a_blob_deleted_meanwhile_is_whole_or_an_error(
    blob_store: BlobStore,
) -> None:
    chunks = some_chunks(12 * MIB)
    key = await put(blob_store, chunks)
    async with blob_store.read(key, 0, 12 * MIB) as body:
        got = [await anext(body)]
        # Not awaited before the reading goes on: MinIO lets a DELETE wait for its readers.
        deletion = asyncio.create_task(blob_store.delete(key))
        await asyncio.sleep(0.05)
        with suppress(StoreUnavailable):
            got += [chunk async for chunk in body]
            assert b"".join(got) == b"".join(chunks)
        await deletion
    with pytest.raises(BlobMissing):
        await read(blob_store, key, 0, 1)


async def test_delete_is_idempotent(blob_store: BlobStore) -> None:
    key = await put(blob_store, some_chunks(10))
    await blob_store.delete(key)
    await blob_store.delete(key)
    assert await blob_store.head(key) is None


async def test_multipart_becomes_visible_at_complete(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    assert await blob_store.head(multipart.key) is None
    await multipart.complete()
    assert await multipart.read_back() == multipart.data
    assert await blob_store.list_multiparts(multipart.key) == []
    facts = await blob_store.head(multipart.key)
    assert facts is not None
    assert facts.crc64nvme in (None, multipart.crc64nvme)
    assert [part.size_bytes for part in multipart.parts] == [5 * MIB, 100_000]


async def test_part_may_be_sent_again(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    multipart.chunks[1] = some_chunks(50_000)
    multipart.parts[1] = await blob_store.upload_part(
        multipart.key, multipart.id, 2, multipart.chunks[1], crc_of(multipart.chunks[1])
    )
    await multipart.complete()
    assert await multipart.read_back() == multipart.data


async def test_part_with_wrong_crc_is_refused(blob_store: BlobStore) -> None:
    key = new_blob_key(DEFAULT_TENANT)
    multipart_id = await blob_store.create_multipart(key)
    with pytest.raises(StoreUnavailable) as caught:
        await blob_store.upload_part(key, multipart_id, 1, some_chunks(100_000), bytes(8))
    assert not isinstance(caught.value, OutcomeUnknown)
    await blob_store.abort(key, multipart_id)


async def test_complete_with_wrong_whole_crc_makes_no_blob(blob_store: BlobStore) -> None:
    if blob_store.part_checksum is not PartChecksum.CRC64NVME:
        pytest.skip("this store does not verify the whole")
    multipart = Multipart(blob_store)
    await multipart.upload()
    with pytest.raises(StoreUnavailable) as caught:
        await blob_store.complete(multipart.key, multipart.id, multipart.parts, bytes(8))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert await blob_store.head(multipart.key) is None
    await blob_store.abort(multipart.key, multipart.id)


async def test_complete_with_a_part_too_small_is_refused_for_good(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store, first_bytes=100_000)
    await multipart.upload()
    with pytest.raises(StoreRefused):
        await multipart.complete()
    assert await blob_store.head(multipart.key) is None
    await blob_store.abort(multipart.key, multipart.id)


async def test_complete_again_succeeds_or_is_unknown_and_harms_nothing(
    blob_store: BlobStore,
) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    await multipart.complete()
    with suppress(OutcomeUnknown):
        await multipart.complete()
    assert await multipart.read_back() == multipart.data


async def test_complete_after_abort_is_unknown_and_makes_no_blob(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    await blob_store.abort(multipart.key, multipart.id)
    with pytest.raises(OutcomeUnknown):
        await multipart.complete()
    assert await blob_store.head(multipart.key) is None


async def test_abort_is_idempotent_and_ends_the_multipart(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    await blob_store.abort(multipart.key, multipart.id)
    await blob_store.abort(multipart.key, multipart.id)
    assert await blob_store.list_multiparts(multipart.key) == []
    with pytest.raises(StoreUnavailable):
        await blob_store.upload_part(
            multipart.key, multipart.id, 3, multipart.chunks[1], crc_of(multipart.chunks[1])
        )


async def test_abort_while_a_part_is_on_its_way_ends_the_multipart(blob_store: BlobStore) -> None:
    key, chunks = new_blob_key(DEFAULT_TENANT), some_chunks(16 * MIB)
    multipart_id = await blob_store.create_multipart(key)
    part = asyncio.create_task(blob_store.upload_part(key, multipart_id, 1, chunks, crc_of(chunks)))
    await asyncio.sleep(0.02)
    await blob_store.abort(key, multipart_id)
    await asyncio.gather(part, return_exceptions=True)
    await blob_store.abort(key, multipart_id)
    assert await blob_store.list_multiparts(key) == []


async def test_abort_after_complete_leaves_the_blob(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    await multipart.complete()
    await blob_store.abort(multipart.key, multipart.id)
    assert await multipart.read_back() == multipart.data


async def test_multiparts_are_listed_by_exactly_their_key(blob_store: BlobStore) -> None:
    key = new_blob_key(DEFAULT_TENANT)
    longer = BlobKey(key + "x")
    mine = [await blob_store.create_multipart(key), await blob_store.create_multipart(key)]
    other = await blob_store.create_multipart(longer)
    assert sorted(await blob_store.list_multiparts(key)) == sorted(mine)
    for multipart_id in mine:
        await blob_store.abort(key, multipart_id)
    assert await blob_store.list_multiparts(key) == []
    assert await blob_store.list_multiparts(longer) == [other]
    await blob_store.abort(longer, other)


@pytest.mark.timeout(60)
async def test_scan_meets_every_blob_of_a_prefix_once_in_key_order(blob_store: BlobStore) -> None:
    mine, lanes = TenantId("scanned"), asyncio.Semaphore(32)
    keys = sorted(new_blob_key(mine) for _ in range(1_100))

    async def make(key: BlobKey, size_bytes: int) -> None:
        async with lanes:
            chunks = [b"x" * size_bytes]
            await blob_store.put(key, chunks, crc_of(chunks))

    async with asyncio.TaskGroup() as group:
        for index, key in enumerate(keys):
            group.create_task(make(key, 1 + index % 7))
    await put(blob_store, some_chunks(10))
    folder = f"{PREFIX}/{mine}/"
    found = await blob_store.scan(folder, after="", limit=5000)
    assert [(blob.key, blob.size_bytes) for blob in found] == [
        (key, 1 + index % 7) for index, key in enumerate(keys)
    ]
    assert await blob_store.scan(folder, after="", limit=7) == found[:7]
    assert await blob_store.scan(folder, after=found[6].key, limit=1) == found[7:8]
    between = found[6].key + "!"
    assert await blob_store.scan(folder, after=between, limit=5000) == found[7:]
    assert await blob_store.scan(folder, after=found[-1].key, limit=7) == []


async def test_scan_tells_when_a_blob_was_last_written(blob_store: BlobStore) -> None:
    keys = [await put(blob_store, some_chunks(10)) for _ in range(2)]
    first = {blob.key: blob.modified_at for blob in await blob_store.scan("", after="", limit=5000)}
    assert abs(first[keys[0]] - first[keys[1]]) < timedelta(seconds=10)
    assert first[keys[0]].tzinfo is not None


async def test_scan_of_multiparts_finds_the_open_ones_under_a_prefix(blob_store: BlobStore) -> None:
    multipart = Multipart(blob_store)
    await multipart.upload()
    other = await blob_store.create_multipart(BlobKey("elsewhere/a"))
    found = [each async for each in blob_store.scan_multiparts(f"{PREFIX}/")]
    assert (multipart.key, multipart.id) in [(each.key, each.id) for each in found]
    assert other not in [each.id for each in found]
    assert all(each.began_at.tzinfo is not None for each in found)
    await multipart.complete()
    await blob_store.abort(BlobKey("elsewhere/a"), other)
    assert multipart.id not in [each.id async for each in blob_store.scan_multiparts(f"{PREFIX}/")]


async def test_bucket_that_is_there_is_not_made_again(blob_store: BlobStore) -> None:
    await blob_store.ensure_bucket()
    await blob_store.ping()


async def test_probe_finds_nothing_wrong_and_leaves_nothing(blob_store: BlobStore) -> None:
    abilities = await blob_store.probe()
    assert abilities.problems == ()
    assert blob_store.part_checksum is abilities.part_checksum
    assert await blob_store.scan("probes/", after="", limit=10) == []


async def test_copy_has_the_bytes_and_the_original_stays(blob_store: BlobStore) -> None:
    chunks = some_chunks(1_000_003)
    source, key = await put(blob_store, chunks), new_blob_key(DEFAULT_TENANT)
    await blob_store.copy(source, key, 1_000_003)
    assert await read(blob_store, key, 0, 1_000_003) == b"".join(chunks)
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.crc64nvme in (None, crc_of(chunks))
    await blob_store.delete(source)
    assert await read(blob_store, key, 0, 1_000_003) == b"".join(chunks)


async def test_copy_of_an_empty_blob_is_empty(blob_store: BlobStore) -> None:
    source, key = await put(blob_store, []), new_blob_key(DEFAULT_TENANT)
    await blob_store.copy(source, key, 0)
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.size_bytes == 0


async def test_copy_of_a_multipart_has_its_bytes(blob_store: BlobStore) -> None:
    multipart, key = Multipart(blob_store), new_blob_key(DEFAULT_TENANT)
    await multipart.upload()
    await multipart.complete()
    await blob_store.copy(multipart.key, key, len(multipart.data))
    assert await read(blob_store, key, 0, len(multipart.data)) == multipart.data
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.crc64nvme in (None, multipart.crc64nvme)


async def test_copy_of_what_is_gone_says_so_and_makes_nothing(blob_store: BlobStore) -> None:
    source, key = await put(blob_store, some_chunks(1000)), new_blob_key(DEFAULT_TENANT)
    await blob_store.delete(source)
    with pytest.raises(BlobMissing):
        await blob_store.copy(source, key, 1000)
    assert await blob_store.head(key) is None


async def test_copied_parts_make_a_blob(blob_store: BlobStore) -> None:
    size, cut = 6 * MIB + 17, 5 * MIB
    chunks = some_chunks(size)
    source, key = await put(blob_store, chunks), new_blob_key(DEFAULT_TENANT)
    multipart_id = await blob_store.create_multipart(key, of_copies=True)
    parts = [
        await blob_store.copy_part(source, cut, size, key, multipart_id, 2),
        await blob_store.copy_part(source, 0, cut, key, multipart_id, 1),
    ]
    assert [part.size_bytes for part in parts] == [size - cut, cut]
    assert await blob_store.head(key) is None
    await blob_store.complete(key, multipart_id, parts[::-1], crc_of(chunks))
    assert await read(blob_store, key, 0, size) == b"".join(chunks)
    facts = await blob_store.head(key)
    assert facts is not None
    assert facts.size_bytes == size
    assert facts.crc64nvme in (None, crc_of(chunks))


async def test_copied_part_of_what_is_gone_says_so(blob_store: BlobStore) -> None:
    key = new_blob_key(DEFAULT_TENANT)
    multipart_id = await blob_store.create_multipart(key, of_copies=True)
    with pytest.raises(BlobMissing):
        await blob_store.copy_part(new_blob_key(DEFAULT_TENANT), 0, 5 * MIB, key, multipart_id, 1)
    await blob_store.abort(key, multipart_id)


async def test_copied_part_for_an_aborted_multipart_is_refused(blob_store: BlobStore) -> None:
    source, key = await put(blob_store, some_chunks(6 * MIB)), new_blob_key(DEFAULT_TENANT)
    multipart_id = await blob_store.create_multipart(key, of_copies=True)
    await blob_store.abort(key, multipart_id)
    with pytest.raises(StoreUnavailable) as caught:
        await blob_store.copy_part(source, 0, 5 * MIB, key, multipart_id, 1)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert await blob_store.list_multiparts(key) == []
