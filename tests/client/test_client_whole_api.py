"""The client's calls against the real application: what both sides agreed on."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest

from service.client import AsyncMediagate, PutOptions
from service.errors import ObjectNotFound, PreconditionFailed
from tests.web.serving import ROOT_KEY


@pytest.fixture
async def mediagate(service):
    async with AsyncMediagate(service.url, ROOT_KEY) as mediagate:
        await mediagate.make_bucket("films")
        await mediagate.make_bucket("kept", versioning=True)
        yield mediagate


async def keys_of(found):
    return [info.key async for info in found]


async def test_every_filter_of_a_search_is_understood(mediagate):
    options = PutOptions(
        content_type="video/mp4", tags={"jahr": "ä&b"}, user_metadata={"who": "Zoë"}
    )
    stored = await mediagate.put("films", "2026/Meer.mp4", b"abc", options)
    await mediagate.put("films", "2026/other", b"abcdef")
    since, until = stored.created_at, stored.created_at + timedelta(hours=1)
    for filters in (
        {"words": "zoe mee"},
        {"content_type": "video/*"},
        {"tags": {"jahr": "ä&b"}},
        {"user_metadata": {"who": "Zoë"}},
        {"size_max": 3},
        {"words": "meer", "prefix": "2026/", "since": since, "until": until},
    ):
        assert await keys_of(mediagate.search("films", **filters)) == ["2026/Meer.mp4"], filters
    found = mediagate.search("films", size_min=1, sort="-size", limit=1)
    assert await keys_of(found) == ["2026/other", "2026/Meer.mp4"]


async def test_a_patch_is_under_the_metadata_etag(mediagate):
    info = await mediagate.put("films", "a", b"x", PutOptions(tags={"a": "b"}))
    changes = {"tags": {"a": None, "c": "d"}, "cache_control": "no-store"}
    new = await mediagate.patch("films", "a", changes, if_match=info.metadata_etag)
    assert (new.version, new.tags, new.cache_control) == (info.version, {"c": "d"}, "no-store")
    with pytest.raises(PreconditionFailed):
        await mediagate.patch("films", "a", changes, if_match=info.metadata_etag)
    assert (await mediagate.stat("films", "a")).metadata_etag == new.metadata_etag


async def test_histories_restore_and_delete_for_good(mediagate):
    old = await mediagate.put("kept", "ä/b", b"old")
    await mediagate.put("kept", "ä/b", b"new")
    marker = await mediagate.delete("kept", "ä/b")
    history = [entry async for entry in mediagate.versions("kept", "ä/b")]
    assert [(entry.delete_marker, entry.latest) for entry in history] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert history[0].version == marker
    assert await mediagate.get_bytes("kept", "ä/b", version=old.version) == b"old"
    restored = await mediagate.restore("kept", "ä/b", old.version)
    assert restored.version != old.version
    assert await mediagate.get_bytes("kept", "ä/b") == b"old"
    assert await mediagate.delete("kept", "ä/b", version=old.version) is None
    with pytest.raises(ObjectNotFound):
        await mediagate.stat("kept", "ä/b", version=old.version)
    assert (await mediagate.bucket("kept")).versioning


async def test_copies_and_moves(mediagate):
    info = await mediagate.put("films", "a", b"x")
    await mediagate.copy("films", "a", "b", create_only=True)
    with pytest.raises(PreconditionFailed):
        await mediagate.copy("films", "a", "b", create_only=True)
    await mediagate.move("films", "a", "c", to_bucket="kept", if_match=info.etag)
    assert await keys_of(mediagate.list("films")) == ["b"]
    assert await mediagate.get_bytes("kept", "c") == b"x"
    with pytest.raises(PreconditionFailed):
        await mediagate.move("kept", "c", "d", if_match=info.etag)


async def test_deletions_of_keys_and_of_a_prefix(mediagate):
    for key in ("a/1", "a/2", "b"):
        await mediagate.put("films", key, b"x")
    found = mediagate.delete_many("films", ["b", "absent"])
    assert [(removal.key, removal.status) async for removal in found] == [
        ("b", "deleted"),
        ("absent", "absent"),
    ]
    job = await mediagate.delete_prefix("films", "a/")
    assert (job.state, job.deleted, job.failed) == ("done", 2, 0)
    assert await keys_of(mediagate.list("films")) == []


async def test_archives_go_out_and_in(mediagate, tmp_path):
    for key in ("a/ä", "a/b/c"):
        await mediagate.put("films", key, key.encode())
    await mediagate.archive_to_file("films", tmp_path / "a.zip", "a/")
    done = await mediagate.expand("films", tmp_path / "a.zip", prefix="new/")
    assert (done.created, done.failed) == (2, 0)
    assert await mediagate.get_bytes("films", "new/b/c") == b"a/b/c"

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good", "x")
        archive.writestr("../bad", "x")
    done = await mediagate.expand("films", packed.getvalue(), atomic=False)
    assert (done.created, done.failed) == (1, 1)
    assert [entry.problem is None for entry in done.items] == [True, False]
