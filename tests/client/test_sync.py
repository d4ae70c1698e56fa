"""Folder and prefix made alike."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.client import AsyncMediagate
from service.client.sync import (
    DigestCache,
    Place,
    Report,
    SyncOptions,
    get_tree,
    put_tree,
    sync_down,
    sync_up,
)  # fmt: skip
from service.client.sync import digest_cache as digests_of_files
from service.errors import Unauthenticated
from tests.web.serving import ROOT_KEY

PLACE = Place("films", "a/")


@pytest.fixture
async def mediagate(service):
    async with AsyncMediagate(service.url, ROOT_KEY) as mediagate:
        await mediagate.make_bucket("films")
        yield mediagate


@pytest.fixture
def cache(tmp_path):
    with DigestCache(tmp_path / "cache" / "digests.sqlite") as cache:
        yield cache


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def stored(mediagate, place=PLACE):
    return {
        info.key[len(place.prefix) :]: await mediagate.get_bytes(place.bucket, info.key)
        async for info in mediagate.list(place.bucket, place.prefix)
    }


class Runs:
    """`await up(…)` gives what was done: {"put": ["a"], …}."""

    def __init__(self, mediagate, folder, cache):
        self.mediagate, self.folder, self.cache = mediagate, folder, cache

    async def __call__(self, way, **options):
        done = {}
        report = Report(lambda action: done.setdefault(action.kind, []).append(action.name))
        chosen = SyncOptions(**options)
        if way is sync_up:
            await sync_up(self.mediagate, self.folder, PLACE, chosen, self.cache, report)
        else:
            await sync_down(self.mediagate, PLACE, self.folder, chosen, self.cache, report)
        return {kind: sorted(names) for kind, names in done.items()}


@pytest.fixture
def run(mediagate, folder, cache):
    return Runs(mediagate, folder, cache)


FILES = {"one": b"1", "b/two": b"22", "b/ä b+c": b"", "b-": b"-", "b/c/d/e": b"deep"}


async def test_a_second_run_moves_nothing(run, mediagate, folder):
    write(folder, FILES)
    assert await run(sync_up) == {"put": sorted(FILES)}
    assert await stored(mediagate) == FILES
    assert await run(sync_up) == {"same": sorted(FILES)}
    assert await run(sync_down) == {"same": sorted(FILES)}


async def test_what_changed_moves_even_at_the_same_size(run, mediagate, folder):
    write(folder, FILES)
    await run(sync_up)
    write(folder, {"one": b"2", "b/two": b"longer"})
    done = await run(sync_up)
    assert done["put"] == ["b/two", "one"]
    assert await stored(mediagate) == FILES | {"one": b"2", "b/two": b"longer"}


async def test_down_makes_the_folder_like_the_prefix(run, mediagate, folder):
    for name, data in FILES.items():
        await mediagate.put("films", f"a/{name}", data)
    await mediagate.put("films", "aside", b"not below the prefix")
    assert await run(sync_down) == {"get": sorted(FILES)}
    assert read(folder) == FILES
    assert await run(sync_down) == {"same": sorted(FILES)}
    await mediagate.put("films", "a/one", b"9")
    assert (await run(sync_down))["get"] == ["one"]
    assert read(folder) == FILES | {"one": b"9"}


@pytest.fixture
async def deletions(mediagate, monkeypatch):
    """The request for many deletions, done one by one."""

    async def delete_many(self, bucket, keys):
        from service.client import Removal

        for key in keys:
            await self.delete(bucket, key)
            yield Removal(key=key, status="deleted")

    monkeypatch.setattr(AsyncMediagate, "delete_many", delete_many)


async def test_only_delete_takes_away_what_the_folder_lacks(run, mediagate, folder, deletions):
    write(folder, {"one": b"1"})
    await mediagate.put("films", "a/old/x", b"old")
    await mediagate.put("films", "b", b"elsewhere")
    assert await run(sync_up) == {"put": ["one"]}
    assert (await run(sync_up, delete=True))["delete"] == ["old/x"]
    assert [info.key async for info in mediagate.list("films")] == ["a/one", "b"]


async def test_down_deletes_files_and_the_folders_they_leave(run, mediagate, folder):
    write(folder, {"x/y/old": b"1", "x/keep/z": b"2"})
    await mediagate.put("films", "a/x/keep/z", b"2")
    done = await run(sync_down, delete=True)
    assert done["delete"] == ["x/y/old"]
    assert sorted(path.name for path in (folder / "x").iterdir()) == ["keep"]


async def test_nothing_is_deleted_where_something_failed(run, mediagate, folder, deletions):
    write(folder, {"one": b"1", "back\\slash": b"no key has it"})
    await mediagate.put("films", "a/old", b"old")
    done = await run(sync_up, delete=True)
    assert done == {"put": ["one"], "failed": ["back\\slash"]}
    assert "old" in await stored(mediagate)


async def test_a_dry_run_tells_and_does_nothing(run, mediagate, folder, deletions):
    write(folder, {"one": b"1"})
    await mediagate.put("films", "a/old", b"old")
    wanted = {"put": ["one"], "delete": ["old"]}
    assert await run(sync_up, delete=True, dry_run=True) == wanted
    assert await stored(mediagate) == {"old": b"old"}
    wanted = {"get": ["old"], "delete": ["one"]}
    assert await run(sync_down, delete=True, dry_run=True) == wanted
    assert read(folder) == {"one": b"1"}


async def test_an_unchanged_file_is_read_once(run, folder, monkeypatch):
    write(folder, FILES)
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    await run(sync_up)
    monkeypatch.setattr(digests_of_files, "crc_of_file", None)
    assert await run(sync_up) == {"same": sorted(FILES)}


async def test_a_file_that_was_changed_just_now_is_read_again(run, folder):
    """Its time may be the same after the next change."""
    write(folder, {"one": b"1"})
    await run(sync_up)
    state = (folder / "one").stat()
    (folder / "one").write_bytes(b"2")
    os.utime(folder / "one", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (await run(sync_up))["put"] == ["one"]


async def test_parts_of_downloads_links_to_folders_and_pipes_are_no_content(run, folder):
    write(folder, {"one": b"1", "x.01J0000000000000000000000A.part": b"half"})
    (folder / "loop").symlink_to(folder)
    (folder / "link").symlink_to(folder / "one")
    os.mkfifo(folder / "pipe")
    assert await run(sync_up) == {"put": ["link", "one"]}


async def test_a_name_that_is_a_file_and_a_folder_fails_alone(run, mediagate, folder):
    for key in ("a/x", "a/x/y", "a/z"):
        await mediagate.put("films", key, b"1")
    done = await run(sync_down, parallel=1)
    assert done == {"get": ["x", "z"], "failed": ["x/y"]}


async def test_a_damaged_cache_is_made_again(tmp_path, run, folder):
    path = tmp_path / "broken.sqlite"
    path.write_bytes(b"no database" * 1000)
    write(folder, {"one": b"1"})
    run.cache = await asyncio.to_thread(DigestCache(path).__enter__)
    assert await run(sync_up) == {"put": ["one"]}
    await asyncio.to_thread(run.cache.__exit__, None, None, None)


async def test_what_would_fail_everywhere_ends_the_run(service, folder, cache):
    write(folder, {str(number): b"x" for number in range(50)})
    async with AsyncMediagate(service.url, "wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await sync_up(stranger, folder, PLACE, SyncOptions(), cache, Report(print))


async def test_a_tree_goes_there_and_back(mediagate, folder, tmp_path):
    write(folder, FILES)
    report = Report(lambda action: None)
    await put_tree(mediagate, folder, PLACE, 4, report)
    await get_tree(mediagate, PLACE, tmp_path / "back", 4, report)
    assert read(tmp_path / "back") == FILES
    assert report.as_dict()["put"] == report.as_dict()["get"] == len(FILES)


SEGMENTS = st.text(st.sampled_from("ab-/.ä 😀\uffff!0"), min_size=1, max_size=6)


@given(names=st.sets(SEGMENTS, max_size=12))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_names_both_sides_meet(tmp_path_factory, names):
    """The order of the walk is that of the listing: otherwise the same name would be met twice."""
    from service.client.sync.local_tree import walk

    folder = tmp_path_factory.mktemp("walk")
    for name in names:
        path = folder / name.strip("/")
        if ".." in name or path == folder:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        except OSError:
            continue
    found = [file.name for file in walk(folder, lambda name, error: None)]
    assert found == sorted(found, key=str.encode)
    assert len(found) == len(set(found)) == len(read(folder))
