"""The outbox, and the filling of an empty database, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from service.errors import Conflict, Fenced
from service.model.api_key import ApiKey
from service.model.bucket import Bucket
from service.model.event import Backlog, Batch, Event, Publisher
from service.model.version import DeleteMarker
from tests.fakes.clock import Clock
from tests.fakes.replica import Leader, Published, Replica, Tables, Tombstone

if TYPE_CHECKING:
    from tests.fakes.metadata import FakeKeyStore

NAME = "journal"


class FakeOutbox:
    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica

    async def lead(self, owner: str, ttl_s: float) -> Publisher | None:
        tables = self._replica.writable()
        held = tables.publishers.get(NAME)
        until = self._clock.now + timedelta(seconds=ttl_s)
        if held is None:
            held = Leader(owner, 1, 0, until)
        elif held.owner == owner:
            held = replace(held, lease_until=until)
        elif held.lease_until < self._clock.now:
            held = Leader(owner, held.epoch + 1, held.position, until)
        else:
            return None
        tables.publishers[NAME] = held
        return Publisher(owner, held.epoch, held.position)

    async def step_down(self, owner: str) -> None:
        tables = self._replica.writable()
        held = tables.publishers.get(NAME)
        if held is not None and held.owner == owner:
            ended = self._clock.now - timedelta(milliseconds=1)
            tables.publishers[NAME] = replace(held, lease_until=ended)

    async def claim(self, publisher: Publisher, *, limit: int) -> Batch:
        tables, held = self._held_by(publisher)
        events = sorted(tables.pending.values(), key=lambda event: event.seq)[:limit]
        tables.publishers[NAME] = replace(held, position=held.position + len(events))
        return Batch(held.position + 1, tuple(events))

    async def published(self, publisher: Publisher, batch: Batch) -> None:
        tables, held = self._held_by(publisher)
        if held.position != batch.last:
            raise Fenced
        for position, event in enumerate(batch.events, start=batch.first):
            if tables.pending.pop(event.id, None) is not None:
                tables.published[event.id] = Published(event, position, self._clock.now)

    async def forget_published(self, *, older_than_s: float, limit: int) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        published = self._replica.writable().published
        old = [name for name, kept in published.items() if kept.at <= before][:limit]
        for name in old:
            del published[name]
        return len(old)

    async def backlog(self) -> Backlog:
        tables = self._replica.majority
        held = tables.publishers.get(NAME)
        oldest = min((event.at for event in tables.pending.values()), default=self._clock.now)
        return Backlog(
            len(tables.pending),
            max((self._clock.now - oldest).total_seconds(), 0.0),
            held.epoch if held else 0,
            held.position if held else 0,
        )

    def _held_by(self, publisher: Publisher) -> tuple[Tables, Leader]:
        tables = self._replica.writable()
        held = tables.publishers.get(NAME)
        if held is None or (held.owner, held.epoch) != (publisher.owner, publisher.epoch):
            raise Fenced
        return tables, held


class FakeRestoring:
    def __init__(self, replica: Replica, keys: FakeKeyStore) -> None:
        self._replica = replica
        self._keys = keys
        self.under_way = False

    async def begin(self) -> None:
        tables = self._replica.writable()
        filled = (tables.versions, tables.tombstones, tables.buckets, tables.uploads)
        if not self.under_way and any((*filled, tables.pending, self._keys.keys)):
            raise Conflict("the database is not empty")
        self.under_way = True
        self._replica.local = Tables()
        self._keys.keys.clear()

    async def add(self, events: Sequence[Event]) -> None:
        tables = self._replica.writable()
        for event in events:
            of = event.of
            match of:
                case Bucket():
                    if not event.removes:
                        tables.buckets[of.id] = of
                case ApiKey():
                    self._keys.keys[of.id] = of
                case _ if event.removes:
                    place = (of.tenant, of.bucket_id, of.key)
                    tables.tombstones[place] = Tombstone(event.seq, event.at)
                case DeleteMarker():
                    tables.markers[of.id] = of
                case _:
                    tables.versions[of.id] = of

    async def finish(self, *, epoch: int, position: int) -> None:
        ended = datetime.min.replace(tzinfo=UTC)
        self._replica.writable().publishers[NAME] = Leader("", epoch, position, ended)
        self.under_way = False
