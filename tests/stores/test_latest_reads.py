"""Reads that share a query; a query sees the entries of its time, and can be held back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import ConnectionFailure

from service.errors import StoreUnavailable
from service.stores.mongo.errors import Guard
from service.stores.mongo.latest_reads import LatestReads

PLACE = ("tenant", "bucket")


class Versions:
    """queries: the keys of each. A query sees the entries as they are when it is let through."""

    def __init__(self) -> None:
        self.entries: dict[str, int] = {}
        self.queries: list[list[str]] = []
        self.through = asyncio.Event()
        self.fails = False

    async def find_one(self, wanted: dict[str, Any]) -> dict[str, Any] | None:
        return next(iter(await self._found([wanted["key"]])), None)

    def find(self, wanted: dict[str, Any]) -> Any:
        return Cursor(self, wanted["key"]["$in"])

    async def _found(self, keys: list[str]) -> list[dict[str, Any]]:
        self.queries.append(keys)
        seen = dict(self.entries)
        await self.through.wait()
        if self.fails:
            raise ConnectionFailure("cut")
        return [{"key": key, "seq": seen[key]} for key in keys if key in seen]


class Cursor:
    def __init__(self, versions: Versions, keys: list[str]) -> None:
        self._versions, self._keys = versions, keys

    async def to_list(self, length: int) -> list[dict[str, Any]]:
        assert length == len(self._keys)
        return await self._versions._found(self._keys)


@pytest.fixture
def versions() -> Versions:
    return Versions()


@pytest.fixture
def reads(versions: Versions) -> LatestReads:
    return LatestReads(versions, Guard(5))  # type: ignore[arg-type]


def ask(reads: LatestReads, *keys: str) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(reads.get(*PLACE, key)) for key in keys]  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reads_that_wait_share_the_next_query(reads: LatestReads, versions: Versions):
    versions.entries = {"a": 1, "c": 3, "d": 4}
    first = ask(reads, "a", "b")
    await settled()
    waiting = ask(reads, "c", "d", "c", "e")
    await settled()
    assert versions.queries == [["a"], ["b"]]
    versions.through.set()
    found = await asyncio.gather(*first, *waiting)
    assert [entry and entry["seq"] for entry in found] == [1, None, 3, 4, 3, None]
    assert versions.queries == [["a"], ["b"], ["c", "d", "e"]]


async def test_a_read_is_never_answered_by_a_query_that_was_sent_before_it(
    reads: LatestReads, versions: Versions
):
    versions.entries = {"a": 1}
    early = ask(reads, "a", "other")
    await settled()
    versions.entries = {"a": 2}  # acknowledged to somebody before the next read is asked for
    late = ask(reads, "a")
    versions.through.set()
    assert [entry and entry["seq"] for entry in await asyncio.gather(*early, *late)] == [1, None, 2]


async def test_no_query_asks_for_more_than_a_hundred_keys(reads: LatestReads, versions: Versions):
    first = ask(reads, "a", "b")
    await settled()
    waiting = ask(reads, *(f"k{number}" for number in range(250)))
    await settled()
    versions.through.set()
    await asyncio.gather(*first, *waiting)
    assert [len(query) for query in versions.queries[2:]] == [100, 100, 50]


async def test_tenants_and_buckets_never_share_a_query(reads: LatestReads, versions: Versions):
    first = ask(reads, "a", "b")
    await settled()
    elsewhere = [
        asyncio.create_task(reads.get(tenant, bucket, "k"))  # type: ignore[arg-type]
        for tenant, bucket in (PLACE, ("other", "bucket"), ("tenant", "other"))
    ]
    await settled()
    versions.through.set()
    await asyncio.gather(*first, *elsewhere)
    assert versions.queries[2:] == [["k"], ["k"], ["k"]]


async def test_a_failed_query_fails_all_who_share_it_and_nobody_else(
    reads: LatestReads, versions: Versions
):
    first = ask(reads, "a", "b")
    await settled()
    shared = ask(reads, "c", "d")
    await settled()
    versions.fails = True
    versions.through.set()
    found = await asyncio.gather(*first, *shared, return_exceptions=True)
    assert {type(error) for error in found} == {StoreUnavailable}
    versions.fails, versions.entries = False, {"a": 1}
    assert (await reads.get(*PLACE, "a"))["seq"] == 1  # type: ignore[arg-type, index]


async def test_who_goes_away_takes_no_answer_from_others(reads: LatestReads, versions: Versions):
    versions.entries = {"c": 3}
    first = ask(reads, "a", "b")
    await settled()
    gone, stays = ask(reads, "c", "c")
    await settled()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    versions.through.set()
    assert (await stays)["seq"] == 3
    await asyncio.gather(*first)
    await reads.drain()
