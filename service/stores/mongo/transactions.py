"""Transactions with the driver's core API: rerun on conflict, never guess about a commit.

What can go wrong, and what is known then:

    a command inside fails, TransientTransactionError   nothing happened: run it all again
    a duplicate on a unique index                       likewise: another commit came first
    the commit fails, UnknownTransactionCommitResult    unknown: commit again, same session
    the commit says that there is no such transaction   aborted, or forgotten by a server that
                                                        was restarted: read back before a rerun

`landed` is the read-back: a majority read that finds the transaction's own mark, or None. Only it
or the commit's acknowledgement make a success. A rerun is safe in every case, since each
transaction changes a document that its first run would have changed too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pymongo
from pymongo import ReadPreference
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from service.errors import MediagateError, OutcomeUnknown, StoreUnavailable
from service.stores.mongo.driver import MAJORITY, Client, Session
from service.stores.mongo.errors import TRANSIENT, UNKNOWN_COMMIT, WRITE_CONFLICT, translate

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.25
ABORT_S = 2.0
"""How long an abort may take; past it the server ends the transaction by itself."""
LEAST_S = 0.001


class _Again(Exception):
    """Nothing of this run happened: another one may follow."""


class _CommitFailed(Exception):
    """The commit was sent and not acknowledged. definite: no later effect is possible."""

    def __init__(self, *, definite: bool) -> None:
        super().__init__()
        self.definite = definite


class _Deadline:
    """A point in time, by the monotonic clock. abandoned: nobody waits for a rerun any more."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self.abandoned = False

    def left_s(self) -> float:
        return max(self._at - time.monotonic(), LEAST_S)

    def passed(self) -> bool:
        return time.monotonic() >= self._at


async def _pause(attempt: int) -> None:
    """Full jitter, so that those who collided do not collide again."""
    longest = min(FIRST_PAUSE_S * 2 ** min(attempt, 10), LONGEST_PAUSE_S)
    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 no secret


class Transactions:
    """Runs transactions; each finishes even if its caller is cancelled.

    A session must not go back to the driver's pool while a thread still uses it, so a cancelled
    caller waits for the run that it began, which is committed only if the commit was sent already;
    `drain` waits for those whose caller would not.

    Those that met a conflict run again one by one: thirty writers of one key would otherwise abort
    each other until their deadlines.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reruns = asyncio.Lock()
        self._running: set[asyncio.Task[object]] = set()

    async def run(
        self,
        work: Callable[[Session], Awaitable[T]],
        landed: Callable[[], Awaitable[T | None]],
        *,
        deadline_s: float,
    ) -> T:
        """Run `work` in a transaction and commit it; return what it returned.

        work: may run several times; an error of ours that it raises aborts and passes through.
        Raises StoreUnavailable (nothing happened), OutcomeUnknown.
        """
        deadline = _Deadline(deadline_s)
        task = asyncio.create_task(self._until(work, landed, deadline))
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # A rerun could undo what others, or the same client, were told since.
            deadline.abandoned = True
            await asyncio.wait([task])
            raise

    async def drain(self) -> None:
        """Wait for every run under way; each ends by its own deadline."""
        if self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its caller may be gone

    async def _until(
        self,
        work: Callable[[Session], Awaitable[T]],
        landed: Callable[[], Awaitable[T | None]],
        deadline: _Deadline,
    ) -> T:
        attempt, sent = 0, False
        while True:
            try:
                if attempt == 0:
                    return await self._once(work, deadline)
                async with self._turn(deadline):
                    return await self._once(work, deadline)
            except _Again as exc:
                if deadline.passed() or deadline.abandoned:
                    raise StoreUnavailable("a conflict did not end in time") from exc.__cause__
            except _CommitFailed as exc:
                sent = True
                found = await self._read_back(landed)
                if found is not None:
                    return found
                if not exc.definite:
                    raise OutcomeUnknown("the commit was not acknowledged") from exc.__cause__
                if deadline.passed() or deadline.abandoned:
                    raise StoreUnavailable("a commit failed until the end") from exc.__cause__
            except MediagateError:
                # What refuses this run may be what an earlier one did, read back too early.
                found = await self._read_back(landed) if sent else None
                if found is None:
                    raise
                return found
            await _pause(attempt)
            attempt += 1

    @asynccontextmanager
    async def _turn(self, deadline: _Deadline) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline.left_s()):
                await self._reruns.acquire()
        except TimeoutError as exc:
            raise _Again from exc
        try:
            yield
        finally:
            self._reruns.release()

    @staticmethod
    async def _read_back(landed: Callable[[], Awaitable[T | None]]) -> T | None:
        try:
            return await landed()
        except StoreUnavailable as exc:
            raise OutcomeUnknown("a commit was sent and cannot be read back") from exc

    async def _once(self, work: Callable[[Session], Awaitable[T]], deadline: _Deadline) -> T:
        async with await self._client.start_session() as session:
            session.start_transaction(
                read_concern=ReadConcern("snapshot"),
                write_concern=MAJORITY,
                read_preference=ReadPreference.PRIMARY,
            )
            try:
                with pymongo.timeout(deadline.left_s()):
                    result = await work(session)
            except PyMongoError as exc:
                await self._abort(session)
                if _may_rerun(exc):
                    raise _Again from exc
                raise translate(exc, wrote=False) from exc
            except BaseException:
                await self._abort(session)
                raise
            if deadline.abandoned:
                # What the snapshot saw may be older than what the caller's client was told since.
                await self._abort(session)
                raise _Again
            await self._commit(session, deadline)
            return result

    @staticmethod
    async def _abort(session: Session) -> None:
        """The driver ignores an abort's errors: the server forgets the transaction anyway."""
        with pymongo.timeout(ABORT_S):
            await session.abort_transaction()

    @staticmethod
    async def _commit(session: Session, deadline: _Deadline) -> None:
        attempt = 0
        while True:
            try:
                with pymongo.timeout(deadline.left_s()):
                    await session.commit_transaction()
            except PyMongoError as exc:
                unknown = exc.has_error_label(UNKNOWN_COMMIT)
                if unknown and not deadline.passed():
                    await _pause(attempt)
                    attempt += 1
                    continue
                raise _CommitFailed(definite=not unknown) from exc
            return


def _may_rerun(error: PyMongoError) -> bool:
    if isinstance(error, DuplicateKeyError):
        return True
    return error.has_error_label(TRANSIENT) or getattr(error, "code", None) == WRITE_CONFLICT
