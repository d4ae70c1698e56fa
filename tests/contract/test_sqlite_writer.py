"""Transactions of SQLite: grouped, each whole or not at all, and told only once they last."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from metadata_engines import TENANT, World

from service.errors import OutcomeUnknown, StoreFull, StoreTimeout, StoreUnavailable
from service.model.bucket import BucketSettings
from service.stores.sqlite import writer as module
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.errors import translate
from service.stores.sqlite.statements import one


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path / "counts.sqlite3", 5)
    await engine.open()
    await engine.write(lambda db: db.execute("CREATE TABLE counts (n INTEGER NOT NULL) STRICT"))
    await engine.write(lambda db: db.execute("INSERT INTO counts VALUES (0)"))
    yield engine
    await engine.close()


def read(db: Db) -> int:
    row = one(db, "SELECT n FROM counts")
    assert row is not None
    return int(row["n"])


def add_one(db: Db) -> int:
    """Read and written apart, so that two that ran at once would lose one."""
    n = read(db) + 1
    db.execute("UPDATE counts SET n = ?", (n,))
    return n


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Another process writes, for as long as this lasts."""
    with closing(sqlite3.connect(engine.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_every_step_sees_the_one_before_and_none_is_lost(engine: Engine):
    told = await asyncio.gather(*(engine.write(add_one) for _ in range(300)))
    assert sorted(told) == list(range(1, 301))
    assert await engine.read(read) == 300


async def test_steps_that_wait_share_one_commit(engine: Engine):
    commits = 0

    def seen(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    writer = engine._writer
    assert writer is not None
    await writer._connection.set_trace_callback(seen)
    await asyncio.gather(*(engine.write(add_one) for _ in range(100)))
    await writer._connection.set_trace_callback(None)
    assert 2 <= commits <= 4


async def test_a_step_that_refuses_is_undone_alone(engine: Engine):
    def refuses(db: Db) -> None:
        add_one(db)
        raise LookupError("no")

    def asks_for_nonsense(db: Db) -> None:
        add_one(db)
        db.execute("SELECT nonsense")

    told = await asyncio.gather(
        engine.write(add_one),
        engine.write(refuses),
        engine.write(asks_for_nonsense),
        engine.write(add_one),
        return_exceptions=True,
    )
    assert told[0] == 1
    assert isinstance(told[1], LookupError)
    assert type(told[2]).__name__ == "MediagateError"
    assert told[3] == 2
    assert await engine.read(read) == 2


async def test_what_is_cancelled_while_it_waits_never_happens(engine: Engine):
    with locked(engine):
        waiting = asyncio.create_task(engine.write(add_one))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await engine.write(read) == 0


async def test_what_has_begun_is_waited_for_when_it_is_cancelled(engine: Engine):
    begun, go_on = threading.Event(), threading.Event()

    def slow(db: Db) -> int:
        begun.set()
        go_on.wait(5)
        return add_one(db)

    writing = asyncio.create_task(engine.write(slow))
    await asyncio.to_thread(begun.wait, 5)
    writing.cancel()
    await asyncio.sleep(0.05)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await engine.read(read) == 1


async def test_a_lock_held_past_the_deadline_is_a_timeout_and_nothing_happens(engine: Engine):
    with locked(engine):
        with pytest.raises(StoreTimeout, match="busy for too long"):
            await engine.write(add_one, deadline_s=0.1)
        assert await engine.read(read) == 0, "readers are not held up"
    assert await engine.write(add_one) == 1


async def test_what_has_begun_and_does_not_end_is_not_known(engine: Engine):
    go_on = threading.Event()

    def slow(db: Db) -> int:
        go_on.wait(5)
        return add_one(db)

    with pytest.raises(OutcomeUnknown):
        await engine.write(slow, deadline_s=0.1)
    go_on.set()
    assert await engine.write(add_one) == 2, "it did happen, later"


async def test_a_slow_read_ends_at_its_deadline(tmp_path: Path):
    engine = Engine(tmp_path / "slow.sqlite3", 0.2)
    await engine.open()
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
    for _ in range(5):
        with pytest.raises(StoreTimeout):
            await engine.read(lambda db: db.execute(endless).fetchall())
    assert await engine.read(lambda db: db.execute("SELECT 7").fetchone()[0]) == 7
    await engine.close()


async def test_a_closed_store_says_so(engine: Engine):
    await engine.close()
    for asked in (engine.read(read), engine.write(read)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await asked


async def test_what_is_under_way_ends_before_the_file_is_closed(tmp_path: Path):
    engine = Engine(tmp_path / "end.sqlite3", 5)
    await engine.open()
    await engine.write(lambda db: db.execute("CREATE TABLE counts (n INTEGER NOT NULL)"))
    await engine.write(lambda db: db.execute("INSERT INTO counts VALUES (0)"))
    writing = [asyncio.create_task(engine.write(add_one)) for _ in range(50)]
    await asyncio.sleep(0)
    await engine.close()
    assert sorted(await asyncio.gather(*writing)) == list(range(1, 51))


SLOWLY = "SELECT count(*) FROM blobs a, blobs b WHERE length(a.b) + length(b.b) > 1"


async def test_the_log_stays_short_though_somebody_always_reads(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LONGEST_LOG_BYTES", 10 << 20)
    log = engine.path.with_name(f"{engine.path.name}-wal")
    await engine.write(lambda db: db.execute("CREATE TABLE blobs (b BLOB)"))
    ends, longest, done = 0, 0, False

    async def read_all_the_time() -> None:
        nonlocal ends
        while not done:
            await engine.read(lambda db: db.execute(SLOWLY).fetchall())
            ends += 1

    reading = [asyncio.create_task(read_all_the_time()) for _ in range(3)]
    add = "INSERT INTO blobs VALUES (randomblob(500000))"
    for _ in range(150):
        await engine.write(lambda db: db.execute(add))
        longest = max(longest, await asyncio.to_thread(lambda: log.stat().st_size))
    done = True
    await asyncio.gather(*reading)
    assert ends > 30
    assert longest < 12 << 20, "75 MB were written"


COUNT = """
import asyncio, sys
from pathlib import Path
from tests.contract.test_sqlite_writer import Engine, add_one

async def main():
    engine = Engine(Path(sys.argv[1]), 20)
    await engine.open()
    for _ in range(25):
        await asyncio.gather(*(engine.write(add_one) for _ in range(4)))
    await engine.close()

asyncio.run(main())
"""


@pytest.mark.timeout(60)
async def test_processes_that_share_the_file_lose_nothing(engine: Engine):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", COUNT, str(engine.path)]
    environment = {"PYTHONPATH": f"{root}:{Path(__file__).parent}", "PATH": ""}
    processes = [
        subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        _, told = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, told
    assert await engine.read(read) == 300


LEAVE_WAL = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(db.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


async def test_other_processes_see_that_the_file_is_in_use(tmp_path: Path):
    """Whoever takes itself for the last one removes the log, and with it what others committed."""
    engines = [Engine(tmp_path / "used.sqlite3", 5) for _ in range(2)]
    for engine in engines:
        await engine.open()
    command = [sys.executable, "-c", LEAVE_WAL, str(engines[0].path)]
    for engine in engines:
        told = await asyncio.to_thread(subprocess.check_output, command, text=True)
        assert told == "database is locked\n"
        await engine.close()
    told = await asyncio.to_thread(subprocess.check_output, command, text=True)
    assert told == "delete\n"


async def test_a_full_disk_refuses_writes_and_still_reads(sqlite_world: World):
    store = sqlite_world.store
    kept = await sqlite_world.put("kept")
    writer = store._engine._writer  # type: ignore[attr-defined]

    def cap(db: Db) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 1}")

    await writer._connection.call(cap)

    async def fill() -> None:
        for number in range(2000):
            await store.buckets.create(TENANT, f"bucket-{number}", BucketSettings())

    with pytest.raises(StoreFull, match="no room left"):
        await fill()
    assert await sqlite_world.latest("kept") == kept
    assert (await store.buckets.list(TENANT, after="", limit=1))[0]
    await writer._connection.call(lambda db: db.execute("PRAGMA max_page_count = 1000000"))
    await store.buckets.create(TENANT, "room-again", BucketSettings())


def failed(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("by hand")
    error.sqlite_errorcode = code
    return error


def test_a_failed_sync_of_a_commit_is_not_known_and_elsewhere_nothing_happened():
    sync = failed(sqlite3.SQLITE_IOERR_FSYNC)
    assert isinstance(translate(sync, committing=True), OutcomeUnknown)
    assert type(translate(sync)) is StoreUnavailable
    assert isinstance(translate(failed(sqlite3.SQLITE_FULL), committing=True), StoreFull)
    assert isinstance(translate(failed(sqlite3.SQLITE_IOERR_SHMSIZE)), StoreFull)
    assert isinstance(translate(failed(sqlite3.SQLITE_INTERRUPT)), StoreTimeout)
    assert "rebuild" in translate(failed(sqlite3.SQLITE_CORRUPT)).detail
    assert translate(failed(sqlite3.SQLITE_ERROR)).code == "internal"
