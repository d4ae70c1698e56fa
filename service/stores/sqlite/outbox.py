"""The outbox over SQLite: who publishes, with which positions, and what is published.

One row of `publishers` holds {epoch, owner, lease, position}; it is never removed. `position` moves
on with every claim, and a mark holds only while no claim came after the one it belongs to.
"""

from __future__ import annotations

from dataclasses import replace

from service.errors import Fenced
from service.model.event import Backlog, Batch, Event, Publisher
from service.protocol.event_json import parse_event
from service.stores.sqlite.clock import in_future, now_ms, past
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.statements import change, insert, many, one

JOURNAL = "journal"
"""The name of the publisher's row."""
_PUBLISHER = "SELECT * FROM publishers WHERE name = 'journal'"
_EXTEND = "UPDATE publishers SET owner = ?, epoch = ?, lease_ms = ? WHERE name = 'journal'"
_STEP_DOWN = "UPDATE publishers SET lease_ms = ? WHERE name = 'journal' AND owner = ?"
_PENDING = "SELECT line FROM events WHERE pending = 1 ORDER BY seq LIMIT ?"
_POSITION = "UPDATE publishers SET position = ? WHERE name = 'journal'"
_PUBLISHED = """
    UPDATE events SET pending = 0, position = ?, published_ms = ? WHERE id = ? AND pending = 1
"""
_FORGET = """
    DELETE FROM events WHERE id IN (
        SELECT id FROM events WHERE published_ms IS NOT NULL AND published_ms <= ?
        ORDER BY published_ms LIMIT ?
    )
"""
_BACKLOG = "SELECT count(*) AS pending, min(at_ms) AS oldest FROM events WHERE pending = 1"


class SqliteOutbox:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def lead(self, owner: str, ttl_s: float) -> Publisher | None:
        def work(db: Db) -> Publisher | None:
            found = one(db, _PUBLISHER)
            until = in_future(ttl_s)
            if found is None:
                first = {"name": JOURNAL, "owner": owner, "epoch": 1, "position": 0}
                insert(db, "publishers", first | {"lease_ms": until})
                return Publisher(owner, 1, 0)
            epoch = found["epoch"]
            if found["owner"] != owner:
                if found["lease_ms"] >= now_ms():
                    return None
                epoch += 1
            change(db, _EXTEND, owner, epoch, until)
            return Publisher(owner, epoch, found["position"])

        return await self._engine.write(work)

    async def step_down(self, owner: str) -> None:
        # A millisecond ago: a lease is free once its end has passed.
        await self._engine.write(lambda db: change(db, _STEP_DOWN, now_ms() - 1, owner))

    async def claim(self, publisher: Publisher, *, limit: int) -> Batch:
        def work(db: Db) -> Batch:
            position = _held(db, publisher)["position"]
            events = tuple(_event_out(row) for row in many(db, _PENDING, limit))
            if events:
                change(db, _POSITION, position + len(events))
            return Batch(position + 1, events)

        return await self._engine.write(work)

    async def published(self, publisher: Publisher, batch: Batch) -> None:
        def work(db: Db) -> None:
            if _held(db, publisher)["position"] != batch.last:
                raise Fenced("another batch was claimed since")
            at_ms = now_ms()
            placed = enumerate(batch.events, batch.first)
            db.executemany(_PUBLISHED, [(position, at_ms, event.id) for position, event in placed])

        await self._engine.write(work)

    async def forget_published(self, *, older_than_s: float, limit: int) -> int:
        before = past(older_than_s)
        return await self._engine.write(lambda db: change(db, _FORGET, before, limit))

    async def backlog(self) -> Backlog:
        def work(db: Db) -> Backlog:
            publisher, waiting = one(db, _PUBLISHER), one(db, _BACKLOG)
            assert waiting is not None
            lag_ms = now_ms() - waiting["oldest"] if waiting["pending"] else 0
            backlog = Backlog(waiting["pending"], max(lag_ms, 0) / 1000)
            if publisher is None:
                return backlog
            return replace(backlog, epoch=publisher["epoch"], position=publisher["position"])

        return await self._engine.read(work)


def _held(db: Db, publisher: Publisher) -> Row:
    """Raises Fenced."""
    found = one(db, _PUBLISHER)
    if found is None or (found["owner"], found["epoch"]) != (publisher.owner, publisher.epoch):
        raise Fenced("another publisher took over")
    return found


def _event_out(row: Row) -> Event:
    return parse_event(row["line"])
