"""Publishing: events go from the outbox to the journal in S3, from which everything can be rebuilt.

What is written. Every change appends its event to the outbox in its own transaction, marked as
pending. One publisher at a time, the holder of a lease with an epoch, goes round:

    lead       take or extend the lease; a takeover raises the epoch
    claim      one transaction: {owner, epoch} hold, pending events read in its snapshot in order
               of `seq`, position += how many there are
    write      one new object under a key with a fresh ULID; the store acknowledges it
    published  one transaction: {owner, epoch, position} hold, the events are pending no more

What can go wrong, and what becomes of it:

- *An event is committed late*, with a lesser id and a lesser time than others that are published
  already. Nothing here goes by ids or times: it is pending, so the next claim has it.
- *Order.* A change reads what the change before it left, so in any snapshot that shows an event
  all earlier ones of its subject are there, and they sort before it. A limit cuts the end off,
  never a beginning; and the next batch is claimed only when this one is marked, or again.
- *The answer of `lead` is lost*: the same owner asks again and has the same epoch. *Of a claim*:
  its positions stay unused; gaps mean nothing. *Of a write*: the object may be there or come
  later; the events are still pending and are written again elsewhere. *Of a mark*: it is read
  back; where even that fails, the events may be written twice. Readers know an event by its id.
- *A crash after the write, before the mark*: the same, the next publisher writes them again.
- *Two publishers, one of them paused* anywhere: the takeover has raised the epoch, so the stale one
  can claim nothing and mark nothing. What it claimed before has lesser positions than all that
  came after. Its write may still arrive, under its own key: an object of duplicates. It cannot
  overwrite anything, and it is not sent at all once its lease is not known to hold (`ensure`).
- *A mark that arrives late*, after its events were claimed again: `position` has moved on, so it
  changes nothing.

The bound: what is acknowledged to a client is in the journal at most `journal.interval_s` later, as
long as a publisher lives. When one dies with its lease, the next has to wait for the end of it.

How the number of objects stays bounded is told in `compact_journal.py`.
"""

from __future__ import annotations

import time

import structlog

from service.errors import Fenced
from service.model.event import Batch, Publisher
from service.protocol.event_json import event_line
from service.protocol.journal import Line
from service.stores.blob_layout import journal_key, new_journal_run
from service.stores.ports import Outbox
from service.usecases.journal import write_object
from service.usecases.runtime import Runtime

log = structlog.get_logger()


class Leadership:
    """One process's hold on the publisher's lease, and when it was last known to be good."""

    def __init__(self, outbox: Outbox, owner: str, ttl_s: float) -> None:
        self.owner = owner
        self._outbox = outbox
        self._ttl_s = ttl_s
        self._acknowledged_at = 0.0

    async def lead(self) -> Publisher | None:
        asked_at = _boot_time_s()
        publisher = await self._outbox.lead(self.owner, self._ttl_s)
        if publisher is not None:
            self._acknowledged_at = asked_at
        return publisher

    async def ensure(self, publisher: Publisher) -> None:
        """Return only while this epoch holds by the database's word; asks where that is old.

        A request to the store lives as long as its signature, a quarter of an hour. Who was paused
        for longer than half a lease therefore asks before sending one. Raises Fenced.
        """
        if _boot_time_s() - self._acknowledged_at < self._ttl_s / 2:
            return
        current = await self.lead()
        if current is None or current.epoch != publisher.epoch:
            raise Fenced("another publisher took over")


def _boot_time_s() -> float:
    """A clock that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


async def publish_events(runtime: Runtime, leadership: Leadership) -> int | None:
    """Publish all that is pending; returns how many events, None where somebody else leads.

    Raises Fenced where the lease is lost in between, StoreUnavailable and the like; whatever was
    not marked is published by the next call.
    """
    published, limit = 0, runtime.settings.journal.batch
    while True:
        publisher = await leadership.lead()
        if publisher is None:
            return None
        batch = await runtime.metadata.outbox.claim(publisher, limit=limit)
        if batch.events:
            await _publish(runtime, leadership, publisher, batch)
            published += len(batch.events)
        if len(batch.events) < limit:
            return published


async def _publish(
    runtime: Runtime, leadership: Leadership, publisher: Publisher, batch: Batch
) -> None:
    lines = sorted(_lines(batch), key=lambda line: line.order)
    await leadership.ensure(publisher)
    key = journal_key(new_journal_run(batch.first, publisher.epoch))
    await write_object(runtime, key, lines)
    await runtime.metadata.outbox.published(publisher, batch)
    runtime.metrics.journal_published.inc(len(batch.events))
    log.debug("events_published", count=len(lines), first=batch.first, key=key)


def _lines(batch: Batch) -> list[Line]:
    return [
        Line(
            event.subject,
            event.seq,
            event.id,
            position,
            event.type.value,
            event_line(event, position),
        )
        for position, event in enumerate(batch.events, start=batch.first)
    ]


async def observe_backlog(runtime: Runtime) -> None:
    """Let the metrics tell how far the journal is behind."""
    backlog = await runtime.metadata.outbox.backlog()
    runtime.metrics.journal_pending.set(backlog.pending)
    runtime.metrics.journal_lag_seconds.set(backlog.lag_s)


async def forget_published(runtime: Runtime) -> None:
    """Drop events from the outbox that have been in the journal for `journal.retention_s`."""
    settings = runtime.settings.journal
    while await runtime.metadata.outbox.forget_published(
        older_than_s=settings.retention_s, limit=settings.batch
    ):
        pass
