"""The file: who may use it, what it must be like, and what is said of one that is not."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from metadata_engines import TENANT, World

from service.errors import MediagateError, SchemaMismatch, StoreRefused
from service.model.bucket import BucketSettings
from service.settings import Metadata
from service.stores.engines import open_metadata
from service.stores.schema_version import SCHEMA_VERSION
from service.stores.sqlite import SqliteMetadata, health, schema
from service.stores.sqlite.health import file_system_of
from service.stores.sqlite.tables import APPLICATION_ID, STATEMENTS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metadata.sqlite3"


def store_of(file: Path) -> SqliteMetadata:
    store = open_metadata(Metadata(url=f"sqlite:///{file}", timeout_s=5))
    assert isinstance(store, SqliteMetadata)
    return store


async def refused(file: Path, error: type[MediagateError], saying: str) -> None:
    store = store_of(file)
    with pytest.raises(error, match=saying):
        await store.start()
    await store.close()


def ask(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as database:
        found = database.execute(sql).fetchall()
        database.commit()
        return found


def columns_and_indexes(file: Path) -> set[tuple[object, ...]]:
    return {
        *ask(
            file,
            "SELECT s.name, c.name, c.type, c.'notnull', c.pk FROM sqlite_schema AS s"
            " JOIN pragma_table_info(s.name) AS c WHERE s.type = 'table'",
        ),
        *ask(file, "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"),
    }


async def test_start_makes_a_file_for_its_owner_only_and_again_changes_nothing(file: Path):
    for _ in range(2):
        store = store_of(file)
        await store.start()
        await store.ping()
        await store.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ask(file, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert ask(file, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert ask(file, "PRAGMA journal_mode") == [("wal",)]
    made = [name for (name,) in ask(file, "SELECT name FROM sqlite_schema WHERE sql NOT NULL")]
    assert len(made) == len(STATEMENTS)


async def test_processes_may_start_at_the_same_time(file: Path):
    stores = [store_of(file) for _ in range(5)]
    await asyncio.gather(*(store.start() for store in stores))
    made = await stores[0].buckets.create(TENANT, "films", BucketSettings())
    for store in stores:
        assert await store.buckets.get(TENANT, "films") == made
        await store.close()


async def test_a_newer_schema_is_refused_by_start_and_migrate(file: Path):
    store = store_of(file)
    await store.start()
    await store.close()
    ask(file, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    await refused(file, SchemaMismatch, "newer release")
    again = store_of(file)
    with pytest.raises(SchemaMismatch, match="newer release"):
        await again.migrate()
    await again.close()


async def test_an_older_schema_needs_migrate_which_goes_step_by_step(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    store = store_of(file)
    await store.start()
    await store.close()
    ask(file, f"PRAGMA user_version = {SCHEMA_VERSION - 2}")
    await refused(file, SchemaMismatch, "run `mediagate migrate`")
    ran: list[int] = []
    steps = {
        SCHEMA_VERSION - 2: lambda db: ran.append(1),
        SCHEMA_VERSION - 1: lambda db: ran.append(2),
    }
    monkeypatch.setattr(
        schema.migrate, "__kwdefaults__", {"version": SCHEMA_VERSION, "steps": steps}
    )
    again = store_of(file)
    assert await again.migrate() == SCHEMA_VERSION
    await again.close()
    assert ran == [1, 2]
    ready = store_of(file)
    await ready.start()
    await ready.close()


async def test_a_file_of_the_third_schema_is_brought_to_what_a_fresh_one_is(file: Path):
    store = store_of(file)
    await store.start()
    await store.close()
    fresh = columns_and_indexes(file)
    for name in ("uploads_resumer", "uploads_span"):
        ask(file, f"DROP INDEX {name}")
    ask(file, "DROP TABLE upload_parts")
    for column in ("resumer", "progress", "span_ms"):
        ask(file, f"ALTER TABLE uploads DROP COLUMN {column}")
    ask(file, "PRAGMA user_version = 3")
    assert columns_and_indexes(file) != fresh
    again = store_of(file)
    assert await again.migrate() == SCHEMA_VERSION
    await again.close()
    assert columns_and_indexes(file) == fresh


async def test_a_step_that_fails_leaves_the_version_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    store = store_of(file)
    await store.start()
    await store.close()
    before = SCHEMA_VERSION - 1
    ask(file, f"PRAGMA user_version = {before}")

    def step(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half_done (x)")
        db.execute("SELECT nonsense")

    monkeypatch.setattr(
        schema.migrate, "__kwdefaults__", {"version": SCHEMA_VERSION, "steps": {before: step}}
    )
    again = store_of(file)
    with pytest.raises(MediagateError, match="driver failed"):
        await again.migrate()
    await again.close()
    assert ask(file, "PRAGMA user_version") == [(before,)]
    assert ask(file, "SELECT 1 FROM sqlite_schema WHERE name = 'half_done'") == []


async def test_a_database_of_another_program_is_left_alone(file: Path):
    ask(file, "CREATE TABLE theirs (x)")
    before = file.read_bytes()
    await refused(file, SchemaMismatch, "another program")
    assert [name for (name,) in ask(file, "SELECT name FROM sqlite_schema")] == ["theirs"]
    assert len(before) == file.stat().st_size


async def test_what_is_no_database_is_refused_with_the_way_out(file: Path):
    file.write_bytes(b"this is no database, but a long enough text to be read as one" * 100)
    await refused(file, StoreRefused, "no database: restore a backup")


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


async def test_a_folder_without_permission_is_refused(tmp_path: Path, not_root: None):
    await refused(Path("/proc/none.sqlite3"), StoreRefused, "/proc/none.sqlite3 cannot be opened")
    await refused(tmp_path / "closed.sqlite3", StoreRefused, "cannot be opened")


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    await refused(tmp_path / "no" / "metadata.sqlite3", StoreRefused, "No such file or directory")


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://x.sqlite3", "sqlite:///?mode=memory"])
def test_a_url_without_a_path_is_refused(url: str):
    with pytest.raises(StoreRefused, match="must be sqlite:/// and a path"):
        open_metadata(Metadata(url=url))


@pytest.mark.parametrize("url", ["postgres://secret@host", "metadata.sqlite3", ""])
def test_a_url_of_no_engine_is_refused_without_telling_it(url: str):
    with pytest.raises(StoreRefused, match="must begin with one of") as told:
        open_metadata(Metadata(url=url))
    assert not url or url not in told.value.detail


async def test_a_damaged_file_is_refused_at_start(file: Path):
    store = store_of(file)
    await store.start()
    world = await World(store, pass_time=None).open()
    for number in range(200):
        await world.put(f"films/{number:04}")
    await store.close()
    content = bytearray(file.read_bytes())
    page = len(content) // 4096 // 2
    content[page * 4096 : page * 4096 + 200] = bytes(200)
    file.write_bytes(content)
    await refused(file, StoreRefused, "mediagate rebuild")


async def test_the_check_of_a_large_file_does_not_hold_up_the_start(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    store = store_of(file)
    await store.start()
    monkeypatch.setattr(health, "_STEPS_BETWEEN_LOOKS", 1)

    def check() -> None:
        with closing(sqlite3.connect(file)) as db:
            assert not health.check_integrity(db, file, seconds=0)
            assert health.check_integrity(db, file, seconds=None)

    await asyncio.to_thread(check)
    await store.close()


def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path):
    device = os.stat(tmp_path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 0:1 / /other rw - ext4 /dev/a rw\n36 35 {number} / /data rw,noatime master:1 - "
        "nfs4 server:/data rw\n"
    )
    assert file_system_of(tmp_path, mounts) == "nfs4"
    assert file_system_of(tmp_path / "not there", mounts) is None
    assert file_system_of(tmp_path) not in (None, "nfs4")
