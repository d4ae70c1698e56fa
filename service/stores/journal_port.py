"""The ports of the journal: the outbox of events, and how an empty database is filled again.

`stores/ports.py` says what holds for all ports; `usecases/publish_events.py` how these are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.model.event import Backlog, Batch, Event, Publisher
from service.model.ids import BucketId, VersionId


class Outbox(Protocol):
    """Events that were committed, and the one publisher that takes them to the journal."""

    async def lead(self, owner: str, ttl_s: float) -> Publisher | None:
        """Take or extend the publisher's lease; None while somebody else holds it.

        A takeover raises the epoch; whoever held it before can neither claim nor mark any more.
        """

    async def step_down(self, owner: str) -> None:
        """End the lease at once; the epoch and the position stay."""

    async def claim(self, publisher: Publisher, *, limit: int) -> Batch:
        """Unpublished events with fresh positions, as one majority compare-and-set on the epoch.

        Read in one snapshot, the least `seq` first: so an event never comes before an earlier one
        of the same subject, whatever order their transactions were committed in. An empty batch
        takes no positions; after a lost answer they stay unused. Raises Fenced.
        """

    async def published(self, publisher: Publisher, batch: Batch) -> None:
        """Mark the events of the last batch claimed, all or none. Raises Fenced where the
        publisher was taken over or has claimed another batch since."""

    async def forget_published(self, *, older_than_s: float, limit: int) -> int:
        """Drop events that were published that long ago; returns how many."""

    async def backlog(self) -> Backlog: ...


class Restoring(Protocol):
    """Filling an empty database from the journal; its events are in the journal already."""

    async def begin(self) -> None:
        """Raises Conflict unless the database is empty.

        A rebuild that was interrupted left a mark; what it restored is dropped then. The mark
        keeps services from starting (`MetadataStore.start`) until `finish`.
        """

    async def add(self, events: Sequence[Event]) -> None:
        """Put back what each event says of its subject; the last event of each subject, once.

        A deleted object leaves its tombstone, a deleted bucket nothing. What a key names is
        `latest` in its event, at most one of all that are added of that key.
        """

    async def withdraw(self, version: VersionId) -> None:
        """Take back a version that was put back: its blob is another's.

        If its key named it, the key names the youngest of the others now, or nothing; the order
        of its changes goes on.
        """

    async def keep_versions(self, buckets: Sequence[BucketId]) -> None:
        """Note that these buckets, which were put back, have kept versions (`Bucket.has_kept`)."""

    async def finish(self, *, epoch: int, position: int) -> None:
        """Let publishers go on after these, and take the mark away."""
