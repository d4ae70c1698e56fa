"""`mediagate metadata …` on a file of SQLite, and from it to a MongoDB server and back."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from service.devstack import Stack
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT
from service.settings import Metadata
from service.stores.engines import open_metadata
from tests.cli.commands import mediagate

NAMES = [f"bucket-{number:03}" for number in range(30)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "metadata.sqlite3"
    asyncio.run(fill(file))
    return file


async def fill(file: Path) -> None:
    store = open_metadata(Metadata(url=f"sqlite:///{file}"))
    await store.start()
    for name in NAMES:
        await store.buckets.create(DEFAULT_TENANT, name, BucketSettings())
    await store.close()


def names_in(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as db:
        return [name for (name,) in db.execute("SELECT name FROM buckets ORDER BY name")]


def of(file: Path) -> dict[str, str]:
    return {"MEDIAGATE_METADATA__URL": f"sqlite:///{file}"}


def test_a_backup_is_whole_private_and_restored_in_an_empty_place(file: Path, tmp_path: Path):
    copy, place = tmp_path / "backup.sqlite3", tmp_path / "again.sqlite3"
    done = mediagate("metadata", "backup", copy, "--json", **of(file))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": str(copy), "size_bytes": copy.stat().st_size}
    assert names_in(copy) == NAMES
    again = mediagate("metadata", "backup", copy, **of(file))
    assert (again.returncode, again.stderr) == (1, f"mediagate: {copy} is there already\n")
    refused = mediagate("metadata", "restore", copy, **of(file))
    assert refused.returncode == 1
    assert "is there already: stop the services and move it away" in refused.stderr
    assert mediagate("metadata", "restore", copy, **of(place)).returncode == 0
    assert names_in(place) == NAMES
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))


def test_a_backup_made_while_others_write_is_one_moment(file: Path, tmp_path: Path):
    copy = tmp_path / "backup.sqlite3"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM buckets")
        done = mediagate("metadata", "backup", copy, **of(file))
        other.execute("COMMIT")
    assert done.returncode == 0, done.stderr
    assert names_in(copy) == NAMES
    assert names_in(file) == []


def test_a_damaged_backup_is_not_put_back(file: Path, tmp_path: Path):
    copy, place = tmp_path / "backup.sqlite3", tmp_path / "again.sqlite3"
    mediagate("metadata", "backup", copy, **of(file))
    content = bytearray(copy.read_bytes())
    content[8192:8400] = bytes(208)
    copy.write_bytes(content)
    done = mediagate("metadata", "restore", copy, **of(place))
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert not place.exists()


def test_check_tells_of_a_whole_file_and_refuses_others(file: Path, tmp_path: Path):
    done = mediagate("metadata", "check", "--json", **of(file))
    assert json.loads(done.stdout)["schema"] == 4
    nothing = mediagate("metadata", "check", **of(tmp_path / "none.sqlite3"))
    assert (nothing.returncode, "there is no file" in nothing.stderr) == (1, True)
    theirs = tmp_path / "theirs.sqlite3"
    with closing(sqlite3.connect(theirs)) as db:
        db.execute("CREATE TABLE x (y)")
    other = mediagate("metadata", "check", **of(theirs))
    assert (other.returncode, "another program" in other.stderr) == (1, True)
    content = bytearray(file.read_bytes())
    content[8192:8400] = bytes(208)
    file.write_bytes(content)
    assert mediagate("metadata", "check", **of(file)).returncode == 1
    url = {"MEDIAGATE_METADATA__URL": "mongodb://127.0.0.1:1"}
    mongo = mediagate("metadata", "backup", tmp_path / "x", **url)
    assert (mongo.returncode, "use its own tools" in mongo.stderr) == (1, True)


@pytest.mark.timeout(60)
def test_a_copy_goes_to_mongodb_and_back_and_is_compared(
    devstack: Stack, file: Path, tmp_path: Path
):
    back, database = tmp_path / "back.sqlite3", f"copy_{secrets.token_hex(4)}"
    there = ("configured", devstack.metadata_url, "--target-database", database)
    done = mediagate("metadata", "copy", *there, **of(file))
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0]["kind"] == "buckets"
    assert told[0]["records"] == len(NAMES)
    again = mediagate("metadata", "copy", *there, **of(file))
    assert (again.returncode, "the target is not empty" in again.stderr) == (1, True)
    here = (devstack.metadata_url, f"sqlite:///{back}", "--source-database", database)
    returned = mediagate("metadata", "copy", *here, **of(file))
    assert [json.loads(line) for line in returned.stdout.splitlines()] == told
    assert names_in(back) == NAMES
