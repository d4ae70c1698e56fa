"""The outbox over MongoDB: who publishes, with which positions, and what is published.

One document of `publishers` holds {epoch, owner, lease_until, position}; it is never removed. A
claim and a mark are transactions that write to it, so that each conflicts with a takeover and with
each other: `position` moves on with every claim, and a mark holds only while no claim came after
the one it belongs to. `$indexOfArray` gives each event its place in the batch.
"""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from service.errors import Fenced
from service.model.event import Backlog, Batch, Publisher
from service.stores.mongo.clock import NOW, in_future, literal, read_clock, read_past
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_out
from service.stores.mongo.transactions import Transactions

JOURNAL = "journal"
"""The `_id` of the publisher's document."""


class MongoOutbox:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._database = database
        self._events = database["events"]
        self._publishers = database["publishers"]
        self._guard = guard
        self._transactions = transactions

    async def lead(self, owner: str, ttl_s: float) -> Publisher | None:
        held = {"owner": literal(owner), "lease_until": in_future(ttl_s)}
        taken = held | {
            "epoch": {"$add": [{"$ifNull": ["$epoch", 0]}, 1]},
            "position": {"$ifNull": ["$position", 0]},
        }
        with self._guard.writing():
            found = await self._change({"_id": JOURNAL, "owner": owner}, held)
            if found is None:
                now = await read_clock(self._database)
                free = {"_id": JOURNAL, "lease_until": {"$lt": now}}
                try:
                    found = await self._change(free, taken, upsert=True)
                except DuplicateKeyError:
                    return None  # it is there and has not run out
        return Publisher(owner, found["epoch"], found["position"]) if found else None

    async def step_down(self, owner: str) -> None:
        with self._guard.writing():
            # A millisecond ago: a lease is free once its end has passed.
            await self._change({"_id": JOURNAL, "owner": owner}, {"lease_until": in_future(-0.001)})

    async def claim(self, publisher: Publisher, *, limit: int) -> Batch:
        async def work(session: Session) -> Batch:
            held = await self._publishers.find_one(_held_by(publisher), session=session)
            if held is None:
                raise Fenced("another publisher took over")
            cursor = self._events.find(
                {"pending": True}, sort=[("seq", ASCENDING)], limit=limit, session=session
            )
            found = await cursor.to_list(limit)
            if found:
                await self._publishers.update_one(
                    _held_by(publisher), {"$inc": {"position": len(found)}}, session=session
                )
            return Batch(held["position"] + 1, tuple(event_out(event) for event in found))

        async def landed() -> None:
            """Positions are not worth the question; those that nobody knows stay unused."""

        return await self._transactions.run(work, landed, deadline_s=self._guard.timeout_s)

    async def published(self, publisher: Publisher, batch: Batch) -> None:
        ids = [event.id for event in batch.events]
        position = {"$add": [batch.first, {"$indexOfArray": [literal(ids), "$_id"]}]}
        marks: list[Document] = [
            {"$set": {"position": position, "published_at": NOW}},
            {"$unset": ["pending"]},
        ]

        async def work(session: Session) -> bool:
            done = await self._publishers.update_one(
                _held_by(publisher) | {"position": batch.last},
                {"$inc": {"marks": 1}},
                session=session,
            )
            if not done.matched_count:
                raise Fenced("another publisher took over")
            await self._events.update_many(
                {"_id": {"$in": ids}, "pending": True}, marks, session=session
            )
            return True

        async def landed() -> bool | None:
            with self._guard.reading():
                last = await self._events.find_one({"_id": ids[-1]})
            return True if last is None or "pending" not in last else None

        await self._transactions.run(work, landed, deadline_s=self._guard.timeout_s)

    async def forget_published(self, *, older_than_s: float, limit: int) -> int:
        with self._guard.writing():
            before = await read_past(self._database, older_than_s)
            cursor = self._events.find(
                {"published_at": {"$lte": before}},
                {"_id": True},
                sort=[("published_at", ASCENDING)],
                limit=limit,
            )
            ids = [event["_id"] for event in await cursor.to_list(limit)]
            if not ids:
                return 0
            forgotten = await self._events.delete_many({"_id": {"$in": ids}})
        return forgotten.deleted_count

    async def backlog(self) -> Backlog:
        with self._guard.reading():
            now = await read_clock(self._database)
            publisher = await self._publishers.find_one({"_id": JOURNAL}) or {}
            counted = self._events.aggregate(
                [
                    {"$match": {"pending": True}},
                    {"$group": {"_id": None, "count": {"$sum": 1}, "oldest": {"$min": "$at"}}},
                ]
            )
            groups = await counted.to_list(1)
        pending = groups[0]["count"] if groups else 0
        lag_s = _age_s(groups[0]["oldest"], now) if groups else 0.0
        return Backlog(pending, lag_s, publisher.get("epoch", 0), publisher.get("position", 0))

    async def _change(
        self, filter: Document, changes: Document, *, upsert: bool = False
    ) -> Document | None:
        stored: Document | None = await self._publishers.find_one_and_update(
            filter, [{"$set": changes}], upsert=upsert, return_document=ReturnDocument.AFTER
        )
        return stored


def _held_by(publisher: Publisher) -> Document:
    return {"_id": JOURNAL, "owner": publisher.owner, "epoch": publisher.epoch}


def _age_s(moment: datetime, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0)
