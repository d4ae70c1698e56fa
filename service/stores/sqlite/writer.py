"""Transactions: one at a time in the whole file, and those that wait share the next one.

A commit costs a sync of the disk, whatever is in it. While one is under way, further steps wait;
then all of them run in one transaction, each in a savepoint of its own, and one COMMIT makes all
of them durable. A step sees those before it, as it would had each been a transaction. None is told
of its outcome, a refusal included, before the COMMIT is through: what it saw may not have lasted.

A step runs once or not at all. Whoever stops waiting (a deadline, a cancellation) before it began
takes it back; after that the caller waits for the outcome, or is told that it is not known.

Other processes write to the same file, each under SQLite's lock (BEGIN IMMEDIATE). SQLite would
wait for it in ever longer sleeps; asking again soon, at random, shares it more evenly.

SQLite copies the log back into the file in passing, as far as no reader still looks at an older
state. Where somebody always does, it never gets to the end, and the log grows without one: past
`LONGEST_LOG_BYTES` the writer stops for a moment, until the readers of that moment are through.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import structlog

from service.errors import MediagateError, OutcomeUnknown, StoreTimeout, StoreUnavailable
from service.stores.sqlite.driver import Connection, Db
from service.stores.sqlite.errors import ends_transaction, is_busy, translate

T = TypeVar("T")
log = structlog.get_logger()

MOST_AT_ONCE = 64
LONGEST_LOG_BYTES = 64 << 20
READERS_PATIENCE_S, REST_S = 2.0, 10.0
"""How long readers are waited for, and how long until that is tried again where it was in vain."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.01

Outcome = tuple[Any, BaseException | None]


class _Step:
    """One caller's work and where its outcome goes."""

    def __init__(self, work: Callable[[Db], Any]) -> None:
        self.work = work
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.taken_back = False
        self._begun = False
        self._lock = Lock()

    def begin(self) -> bool:
        """In the writer's thread: whether it is still wanted; from then on it cannot be taken
        back."""
        with self._lock:
            self._begun = not self.taken_back
            return self._begun

    def take_back(self) -> bool:
        """Whether it has not begun, and now never will."""
        with self._lock:
            self.taken_back = not self._begun
            return self.taken_back

    def end(self, value: Any, error: BaseException | None) -> None:
        if self.outcome.done():
            return
        if error is None:
            self.outcome.set_result(value)
        else:
            self.outcome.set_exception(error)
            self.outcome.exception()  # seen: whoever asked may be gone


class Writer:
    """The one connection of this process that writes."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self._log = _Log(path)
        self._waiting: deque[_Step] = deque()
        self._working: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Db], T], *, deadline_s: float) -> T:
        """Run `work` in a transaction, commit it, and return what it returned.

        work: what it raises undoes it and passes through.
        Raises StoreTimeout (it never began), OutcomeUnknown, StoreFull, StoreUnavailable.
        """
        step = _Step(work)
        self._waiting.append(step)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(deadline_s):
                value: T = await asyncio.shield(step.outcome)
                return value
        except TimeoutError as exc:
            if step.take_back():
                raise StoreTimeout("the metadata store was busy for too long") from exc
            raise OutcomeUnknown("the metadata store did not finish in time", silent=True) from exc
        except asyncio.CancelledError:
            if not step.take_back():
                await asyncio.wait([step.outcome], timeout=deadline_s)
            raise

    async def drain(self) -> None:
        """Wait for every step that was asked for."""
        while self._working is not None:
            await asyncio.wait([self._working])

    async def close(self) -> None:
        await self.drain()
        await self._connection.close()

    async def _work(self) -> None:
        try:
            while self._waiting:
                steps = [self._waiting.popleft() for _ in range(self._next_group())]
                try:
                    outcomes, log_is_long = await self._connection.call(partial(self._run, steps))
                except BaseException:
                    for step in steps:
                        step.end(None, OutcomeUnknown("the metadata store was closed"))
                    raise
                for step, (value, error) in zip(steps, outcomes, strict=True):
                    step.end(value, error)
                if log_is_long:  # those who waited have been told by now
                    await self._connection.call(self._log.shorten)
        finally:
            self._working = None

    def _run(self, steps: Sequence[_Step], db: Db) -> tuple[list[Outcome], bool]:
        return _run_together(steps, db), self._log.is_long()

    def _next_group(self) -> int:
        return min(len(self._waiting), MOST_AT_ONCE)


class _Log:
    """The write-ahead log beside the file."""

    def __init__(self, path: Path) -> None:
        self._path = f"{path}-wal"
        self._not_before = 0.0

    def shorten(self, db: Db) -> None:
        """In the writer's thread: copy it back and cut it off."""
        try:
            db.execute(f"PRAGMA busy_timeout = {round(READERS_PATIENCE_S * 1000)}")
            (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as exc:
            busy = True
            log.warning("metadata_log_not_shortened", error=repr(exc))
        finally:
            db.execute("PRAGMA busy_timeout = 0")
        if busy:
            self._not_before = time.monotonic() + REST_S

    def is_long(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            return os.stat(self._path).st_size > LONGEST_LOG_BYTES
        except FileNotFoundError:
            return False


def _run_together(steps: Sequence[_Step], db: Db) -> list[Outcome]:
    """The outcome of each; never raises what a step or the database raised."""
    try:
        if not _begin(steps, db):
            late = StoreTimeout("the metadata store was busy for too long")
            return [(None, late)] * len(steps)
        outcomes = [_run_one(step, db) for step in steps]
    except sqlite3.Error as exc:
        return _failed(steps, db, translate(exc))
    try:
        db.execute("COMMIT")
    except sqlite3.Error as exc:
        return _failed(steps, db, translate(exc, committing=True))
    return outcomes


def _begin(steps: Sequence[_Step], db: Db) -> bool:
    """Take the file's lock; False where nobody waits for it any more."""
    pause_s = FIRST_PAUSE_S
    while not all(step.taken_back for step in steps):
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            if not is_busy(exc):
                raise
            time.sleep(random.uniform(0, pause_s))  # noqa: S311 no secret
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        else:
            return True
    return False


def _run_one(step: _Step, db: Db) -> Outcome:
    """Raises sqlite3.Error where the database failed, which ends the whole transaction."""
    if not step.begin():
        return None, StoreUnavailable("nobody waits for this any more")
    db.execute("SAVEPOINT step")
    try:
        outcome: Outcome = step.work(db), None
    except sqlite3.Error as exc:
        if ends_transaction(exc):
            raise
        db.execute("ROLLBACK TO step")
        outcome = None, translate(exc)
    except Exception as exc:  # noqa: BLE001 the caller's, who gets it
        db.execute("ROLLBACK TO step")
        outcome = None, exc
    db.execute("RELEASE step")
    return outcome


def _failed(steps: Sequence[_Step], db: Db, error: MediagateError) -> list[Outcome]:
    """Nothing of it lasts; an error of its own for each, since each is raised apart."""
    if db.in_transaction:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error as exc:
            error.add_note(f"the rollback failed too: {exc}")
    return [(None, _like(error)) for _ in steps]


def _like(error: MediagateError) -> MediagateError:
    made = type(error)(error.detail)
    made.__cause__ = error.__cause__
    if isinstance(error, StoreUnavailable) and isinstance(made, StoreUnavailable):
        made.silent = error.silent
    return made
