"""Transactions: one at a time in the whole file, and those that wait share the next one.

A commit costs a sync of the disk, whatever is in it. While one is under way, further steps wait;
then all of them run in one transaction, each in a savepoint of its own, and one COMMIT makes all
of them durable. A step sees those before it, as it would had each been a transaction. None is told
of its outcome, a refusal included, before the COMMIT is through: what it saw may not have lasted.

A step runs once or not at all. Whoever stops waiting (a deadline, a cancellation) before it began
takes it back; after that the caller waits for the outcome, or is told that it is not known.

Other processes write to the same file, each under SQLite's lock (BEGIN IMMEDIATE). SQLite would
wait for it in ever longer sleeps; asking again soon, at random, shares it more evenly.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from service.errors import MediagateError, OutcomeUnknown, StoreTimeout, StoreUnavailable
from service.stores.sqlite.driver import Connection, Db
from service.stores.sqlite.errors import ends_transaction, is_busy, translate

T = TypeVar("T")

MOST_AT_ONCE = 64
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

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
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
                    outcomes = await self._connection.call(partial(_run_together, steps))
                except BaseException:
                    for step in steps:
                        step.end(None, OutcomeUnknown("the metadata store was closed"))
                    raise
                for step, (value, error) in zip(steps, outcomes, strict=True):
                    step.end(value, error)
        finally:
            self._working = None

    def _next_group(self) -> int:
        return min(len(self._waiting), MOST_AT_ONCE)


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
