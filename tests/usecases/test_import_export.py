"""Objects out to a folder and back: the same bytes and metadata, again and again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from service.client.sync.report import Kind, Report
from service.errors import BucketNotFound
from service.model.bucket import BucketSettings
from service.model.depot import MANIFEST
from service.model.ids import DEFAULT_TENANT
from service.model.version import ObjectFacts
from service.stores.depot_folder import FolderDepot
from service.usecases.export_objects import ExportRequest, export_objects
from service.usecases.import_objects import MARK, ImportRequest, import_objects
from service.usecases.put_object import PutRequest, put_object

FACTS = ObjectFacts(
    content_type="text/plain; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    cache_control="no-store",
    filename="ä.txt",
    user_metadata={"who": "Zoë", "long": "x" * 5000},
    tags={"a": "b c", "ü": ""},
)
FILES = {"a/one": b"1", "a/ä b": b"", "a/b/two": b"2" * 300_000}


class Runs:
    """`await runs.out()` gives {kind: names}."""

    def __init__(self, runtime, folder):
        self.runtime, self.folder = runtime, folder

    async def out(self, **options):
        request = ExportRequest(DEFAULT_TENANT, "films", "a/", **options)
        return await self._run(export_objects, request)

    async def back(self, bucket="copies", prefix="a/", **options):
        request = ImportRequest(DEFAULT_TENANT, bucket, prefix, **options)
        return await self._run(import_objects, request)

    async def _run(self, usecase, request):
        done = {}
        report = Report(lambda action: done.setdefault(action.kind, set()).add(action.name))
        depot = FolderDepot(self.folder, report.failed)
        await usecase(self.runtime, request, depot, report)
        return done

    async def put(self, key, data, bucket="films", facts=FACTS):
        async def body():
            if data:
                yield data

        request = PutRequest(DEFAULT_TENANT, bucket, key, facts, wanted_digests={"sha-256"})
        return (await put_object(self.runtime, request, body())).version

    async def latest(self, bucket, key):
        buckets, versions = self.runtime.metadata.buckets, self.runtime.metadata.versions
        found = await buckets.get(DEFAULT_TENANT, bucket)
        return await versions.get_latest(DEFAULT_TENANT, found.id, key)


@pytest.fixture
async def runs(runtime, tmp_path):
    await runtime.metadata.buckets.create(DEFAULT_TENANT, "copies", BucketSettings())
    (tmp_path / "out").mkdir()
    return Runs(runtime, tmp_path / "out")


NAMES = {key.removeprefix("a/") for key in FILES}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


async def test_an_import_of_an_export_gives_objects_and_metadata_back(runs):
    for key, data in FILES.items():
        await runs.put(key, data)
    await runs.put("b", b"not below the prefix")
    assert await runs.out() == {Kind.GET: NAMES}
    assert files_of(runs.folder) == {key.removeprefix("a/"): data for key, data in FILES.items()}
    assert await runs.back() == {Kind.PUT: NAMES}
    for key in FILES:
        old, new = await runs.latest("films", key), await runs.latest("copies", key)
        assert (new.facts, new.digests, new.size_bytes) == (
            old.facts,
            old.digests,
            old.size_bytes,
        )


async def test_second_runs_move_nothing(runs):
    for key, data in FILES.items():
        await runs.put(key, data)
    await runs.out()
    manifest = (runs.folder / MANIFEST).read_bytes()
    assert await runs.out() == {Kind.SAME: NAMES}
    assert (runs.folder / MANIFEST).read_bytes() == manifest
    await runs.back()
    assert await runs.back() == {Kind.SAME: NAMES}
    assert await runs.back(bucket="films") == {Kind.SAME: NAMES}


async def test_what_changed_is_exported_again_though_its_size_is_the_same(runs):
    await runs.put("a/one", b"1")
    await runs.put("a/two", b"2")
    await runs.out()
    await runs.put("a/one", b"9")
    (runs.folder / "two").write_bytes(b"x")
    assert await runs.out() == {Kind.GET: {"one", "two"}}
    assert files_of(runs.folder) == {"one": b"9", "two": b"2"}


async def test_a_file_that_was_changed_after_the_export_fails_alone(runs):
    await runs.put("a/one", b"1")
    await runs.put("a/two", b"2")
    await runs.out()
    (runs.folder / "one").write_bytes(b"x")
    assert await runs.back() == {Kind.FAILED: {"one"}, Kind.PUT: {"two"}}
    assert await runs.latest("copies", "a/one") is None


async def test_bytes_that_are_damaged_in_the_store_are_not_exported(runs, blobs):
    version = await runs.put("a/one", b"1")
    blobs.blobs[version.blob_key] = b"x"
    assert await runs.out() == {Kind.FAILED: {"one"}}
    assert files_of(runs.folder) == {}
    assert (runs.folder / MANIFEST).read_bytes() == b""


async def test_names_that_no_folder_can_hold_fail_alone(runs):
    for key in ("a/x", "a/x/y", "a/z", f"a/{MANIFEST}", f"a/{'n' * 300}"):
        await runs.put(key, b"1")
    done = await runs.out(parallel=1)
    assert done == {Kind.GET: {"x", "z"}, Kind.FAILED: {"x/y", MANIFEST, "n" * 300}}
    lines = (runs.folder / MANIFEST).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["x", "z"]


async def test_a_plain_folder_is_imported_with_a_mark(runs):
    (runs.folder / "sub").mkdir()
    (runs.folder / "sub" / "page.html").write_bytes(b"<p>")
    assert await runs.back() == {Kind.PUT: {"sub/page.html"}}
    version = await runs.latest("copies", "a/sub/page.html")
    assert version.facts.content_type == "text/html"
    assert version.facts.filename == "page.html"
    assert MARK in version.facts.user_metadata
    assert await runs.back() == {Kind.SAME: {"sub/page.html"}}
    os.utime(runs.folder / "sub" / "page.html", (1, 1))
    assert await runs.back() == {Kind.SAME: {"sub/page.html"}}, "its digest is the same"
    (runs.folder / "sub" / "page.html").write_bytes(b"<b>")
    assert await runs.back() == {Kind.PUT: {"sub/page.html"}}


async def test_a_move_leaves_an_empty_source_and_may_be_repeated(runs):
    (runs.folder / "one").write_bytes(b"1")
    (runs.folder / "bad\\name").write_bytes(b"1")
    assert await runs.back(move=True) == {Kind.PUT: {"one"}, Kind.FAILED: {"bad\\name"}}
    assert set(files_of(runs.folder)) == {"bad\\name"}
    (runs.folder / "one").write_bytes(b"1")
    assert (await runs.back(move=True))[Kind.SAME] == {"one"}
    assert set(files_of(runs.folder)) == {"bad\\name"}


async def test_dry_runs_change_nothing(runs):
    await runs.put("a/one", b"1")
    assert await runs.out(dry_run=True) == {Kind.GET: {"one"}}
    assert list(runs.folder.iterdir()) == []
    (runs.folder / "two").write_bytes(b"2")
    assert await runs.back(dry_run=True, move=True) == {Kind.PUT: {"two"}}
    assert await runs.latest("copies", "a/two") is None
    assert files_of(runs.folder) == {"two": b"2"}


async def test_a_run_that_was_stopped_is_completed_by_the_next(runs, monkeypatch):
    for number in range(20):
        await runs.put(f"a/{number:02}", bytes([number]))
    write = FolderDepot.write

    async def stopping(self, exported, chunks):
        if exported.name == "07":
            raise RuntimeError("the power is gone")
        await write(self, exported, chunks)

    monkeypatch.setattr(FolderDepot, "write", stopping)
    with pytest.raises(RuntimeError):
        await runs.out(parallel=1)
    monkeypatch.undo()
    done = await runs.out()
    assert done[Kind.SAME] >= {f"{number:02}" for number in range(7)}
    assert len(files_of(runs.folder)) == 20


async def test_a_bucket_that_is_not_there_is_told(runs):
    with pytest.raises(BucketNotFound):
        await runs.back(bucket="absent")


async def test_a_manifest_of_somebody_else_is_refused(runs):
    (runs.folder / MANIFEST).write_bytes(b'{"name": "one"}\n')
    with pytest.raises(Exception, match="no export wrote"):
        await runs.back()
