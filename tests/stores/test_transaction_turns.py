"""Many writers of one document in one process; no server is needed for what is shown here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from service.errors import PreconditionFailed, StoreUnavailable
from service.stores.mongo.errors import WRITE_CONFLICT
from service.stores.mongo.transactions import Transactions


class Document:
    """Two transactions that overlap on it both meet a conflict, as cautious servers do it."""

    def __init__(self) -> None:
        self.writers = 0
        self.value = 0

    async def add_one(self, _session: object) -> int:
        self.writers += 1
        try:
            await asyncio.sleep(0.01)
            if self.writers > 1:
                raise OperationFailure("WriteConflict", WRITE_CONFLICT)
            self.value += 1
            return self.value
        finally:
            self.writers -= 1


class Session:
    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def start_transaction(self, **_: object) -> None: ...

    async def commit_transaction(self) -> None: ...

    async def abort_transaction(self) -> None: ...


class Client:
    async def start_session(self) -> Session:
        return Session()


async def nothing() -> None:
    return None


def run(transactions: Transactions, document: Document, deadline_s: float) -> Any:
    return transactions.run(document.add_one, nothing, deadline_s=deadline_s)


async def test_writers_that_abort_each_other_all_get_through() -> None:
    transactions, document = Transactions(Client()), Document()  # type: ignore[arg-type]
    found = await asyncio.gather(*(run(transactions, document, 4) for _ in range(60)))
    assert sorted(found) == list(range(1, 61))


async def test_waiting_for_a_turn_ends_with_the_deadline() -> None:
    transactions, document = Transactions(Client()), Document()  # type: ignore[arg-type]
    document.writers = 1  # somebody elsewhere who never ends
    tries = [run(transactions, document, 0.3) for _ in range(10)]
    async with asyncio.timeout(2):
        found = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in found)


async def test_cancelled_while_waiting_for_a_turn_it_blocks_nobody() -> None:
    transactions, document = Transactions(Client()), Document()  # type: ignore[arg-type]
    tasks = [asyncio.create_task(run(transactions, document, 4)) for _ in range(20)]
    await asyncio.sleep(0.03)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await run(transactions, document, 1)
    await transactions.drain()


async def test_a_run_whose_caller_is_gone_commits_only_what_was_sent() -> None:
    """What its snapshot saw may be older than what the caller's client was told since."""
    working, go_on, sent = asyncio.Event(), asyncio.Event(), []

    class Watched(Session):
        async def commit_transaction(self) -> None:
            sent.append("commit")

        async def abort_transaction(self) -> None:
            sent.append("abort")

    class Watching:
        async def start_session(self) -> Session:
            return Watched()

    async def work(_session: object) -> bool:
        working.set()
        await go_on.wait()
        return True

    transactions = Transactions(Watching())  # type: ignore[arg-type]
    task = asyncio.create_task(transactions.run(work, nothing, deadline_s=4))
    await working.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(task, return_exceptions=True)
    assert sent == ["abort"]


async def test_a_rerun_that_is_refused_by_its_own_first_run_tells_what_that_did() -> None:
    """A server that was restarted knows no transaction, and for a moment not its last writes."""
    runs, looks = 0, 0

    class Restarted(Session):
        async def commit_transaction(self) -> None:
            raise OperationFailure("NoSuchTransaction", 251)

    class Restarting:
        async def start_session(self) -> Session:
            return Restarted()

    async def delete_if_match(_session: object) -> str:
        nonlocal runs
        runs += 1
        if runs > 1:
            raise PreconditionFailed  # there is nothing any more
        return "deleted"

    async def landed() -> str | None:
        nonlocal looks
        looks += 1
        return "deleted" if looks > 1 else None

    transactions = Transactions(Restarting())  # type: ignore[arg-type]
    assert await transactions.run(delete_if_match, landed, deadline_s=4) == "deleted"


async def test_a_refusal_stands_where_nothing_of_an_earlier_run_is_found() -> None:
    commits = 0

    class Aborting(Session):
        async def commit_transaction(self) -> None:
            nonlocal commits
            commits += 1
            raise OperationFailure("NoSuchTransaction", 251)

    class Client:
        async def start_session(self) -> Session:
            return Aborting()

    async def work(_session: object) -> bool:
        if commits:
            raise PreconditionFailed
        return True

    transactions = Transactions(Client())  # type: ignore[arg-type]
    with pytest.raises(PreconditionFailed):
        await transactions.run(work, nothing, deadline_s=4)
