"""Listings, facts, buckets."""

import pytest

from service.client import AsyncMediagate
from service.errors import BucketNotFound, Forbidden, Invalid, ObjectNotFound
from service.model.api_key import Scope
from tests.client.breaking_proxy import Cut
from tests.client.stored import fresh_client, store


async def keys_of(pages):
    return [item.key async for page in pages for item in page.items]


async def test_a_list_walks_all_pages(service, mediagate):
    keys = [f"a/{number:03}" for number in range(25)]
    for key in keys:
        await store(service, b"x", key=key)
    assert await keys_of(mediagate.pages("films", limit=7)) == keys
    assert await keys_of(mediagate.pages("films", "a/01", limit=7)) == keys[10:20]


async def test_a_delimiter_gives_folders(service, mediagate):
    for key in ("a", "b/1", "b/2", "c/1"):
        await store(service, b"x", key=key)
    pages = [page async for page in mediagate.pages("films", delimiter="/", limit=2)]
    assert [item.key for page in pages for item in page.items] == ["a"]
    assert [prefix for page in pages for prefix in page.prefixes] == ["b/", "c/"]


async def test_a_prefix_is_sent_as_it_is(service, mediagate):
    await store(service, b"x", key="ä &=+/1")
    assert await keys_of(mediagate.pages("films", "ä &=+")) == ["ä &=+/1"]


async def test_a_page_is_asked_for_again_after_a_break(service, proxy, mediagate):
    await store(service, b"x")
    async with fresh_client(proxy) as fresh:
        proxy.cuts = [Cut(answer_bytes=20), Cut(answer_bytes=0)]
        assert await keys_of(fresh.pages("films")) == ["a"]


async def test_stat_tells_the_facts(service, mediagate):
    version = await store(
        service, b"hello", content_type="text/plain", user_metadata={"who": "Zoë"}, tags={"a": "b"}
    )
    info = await mediagate.stat("films", "a")
    assert (info.bucket, info.key, info.size_bytes) == ("films", "a", 5)
    assert (info.version, info.etag) == (version.id, f'"{version.id}"')
    assert info.user_metadata == {"who": "Zoë"}
    assert info.tags == {"a": "b"}
    assert info.digest("crc64nvme") == version.digests["crc64nvme"]
    assert info.digest("sha-256") is None
    assert info.created_at.tzinfo is not None


async def test_an_older_version_is_not_found_by_its_id_once_replaced(service, mediagate):
    old = await store(service, b"old")
    await store(service, b"new")
    with pytest.raises(ObjectNotFound):
        await mediagate.stat("films", "a", version=old.id)


async def test_buckets_are_made_once_and_listed(mediagate):
    await mediagate.make_bucket("songs")
    await mediagate.make_bucket("songs")
    assert [bucket.name async for bucket in mediagate.buckets()] == ["films", "songs"]


async def test_an_unknown_bucket_is_not_found(mediagate):
    with pytest.raises(BucketNotFound):
        await keys_of(mediagate.pages("absent"))


async def test_a_key_without_the_scope_is_refused(service, proxy, mediagate):
    token = await service.make_key(Scope.READ)
    async with AsyncMediagate(proxy.url, token) as reader:
        with pytest.raises(Forbidden):
            await keys_of(reader.pages("films"))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "http://"])
async def test_a_bad_address_is_told(url):
    with pytest.raises(Invalid):
        async with AsyncMediagate(url, "k"):
            pass
