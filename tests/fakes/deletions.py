"""The deletion of a name, or of one version, in memory: prepared first, applied at its commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from service.errors import BucketDeleting, BucketNotFound, Conflict
from service.model.bucket import Bucket, BucketState
from service.model.event import EventType
from service.model.ids import EventId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.version import DeleteMarker, Entry, Version
from tests.fakes.clock import Clock
from tests.fakes.replica import (
    Event,
    Place,
    Replica,
    Tables,
    Tombstone,
    current_of,
    current_seq,
    entries_of,
    put_entry,
)


def kill(tables: Tables, entry: Entry, now: datetime) -> None:
    """End a version, or take a marker away; part of a commit or of a deletion."""
    if isinstance(entry, Version):
        tables.versions[entry.id] = replace(entry, latest=False, changed_seq=0)
        tables.dead_since[entry.id] = now
    else:
        del tables.markers[entry.id]


@dataclass
class FakeDeletion:
    """hands_over: the version goes on elsewhere. after_seq: of the event of that."""

    clock: Clock
    replica: Replica
    place: Place
    preconditions: Preconditions
    version: VersionId | None = None
    hands_over: bool = False
    after_seq: int = 0
    change: str = field(default_factory=new_id)
    marker_id: VersionId = field(default_factory=lambda: VersionId(new_id()))

    def prepare(self) -> Callable[[], Entry | None]:
        """The commit raises Conflict where another transaction changed the key first, or the
        bucket where a marker is made."""
        tables = self.replica.writable()
        before = current_of(tables, self.place), entries_of(tables, self.place)
        target = self._target(tables)
        bucket = self._bucket(tables) if target is not None and self.version is None else None

        def apply() -> Entry | None:
            tables = self.replica.writable()
            if target is None:
                return None
            if (current_of(tables, self.place), entries_of(tables, self.place)) != before:
                raise Conflict("another transaction came first")
            if bucket is None:
                return self._remove(tables, target)
            return self._delete(tables, target, bucket)

        return apply

    def landed(self, tables: Tables) -> Entry | None:
        published = {name: kept.event for name, kept in tables.published.items()}
        for change in (self.change, self.marker_id):
            event = (tables.pending | published).get(EventId(change))
            if event is not None:
                assert isinstance(event.of, Version | DeleteMarker)
                return event.of
        return None

    def _target(self, tables: Tables) -> Entry | None:
        if self.version is None:
            current = current_of(tables, self.place)
            latest = current if isinstance(current, Version) else None
            self.preconditions.check_write(latest)
            return latest
        found = [e for e in entries_of(tables, self.place) if e.id == self.version]
        if not found:
            return None
        self.preconditions.check_write(found[0] if isinstance(found[0], Version) else None)
        return found[0]

    def _bucket(self, tables: Tables) -> Bucket:
        bucket = tables.buckets.get(self.place[1])
        if bucket is None or bucket.tenant != self.place[0]:
            raise BucketNotFound
        enters = self.hands_over or self._hides(tables, bucket)
        if enters and bucket.state is BucketState.DELETING:
            raise BucketDeleting
        return bucket

    def _hides(self, tables: Tables, bucket: Bucket) -> bool:
        """Whether a marker is made."""
        others = len(entries_of(tables, self.place)) > 1
        return bucket.settings.versioning or (bucket.has_kept and others)

    def _delete(self, tables: Tables, latest: Entry, bucket: Bucket) -> Entry:
        seq, hides = self._next(tables), self._hides(tables, bucket)
        if (hides or self.hands_over) and tables.buckets.get(bucket.id) != bucket:
            raise Conflict("the bucket was changed first")
        if not hides:
            self._bury(tables, latest, seq)
            self._announce(tables, latest, seq)
            return latest
        tenant, bucket_id, key = self.place
        marker = DeleteMarker(
            self.marker_id,
            tenant,
            bucket_id,
            key,
            seq,
            self.clock.now,
            changed_seq=0 if bucket.settings.versioning else seq + 1,
        )
        tables.markers[marker.id] = marker
        kind = EventType.MARKER_CREATED
        tables.announce(marker.id, kind, seq, self.clock.now, marker)
        if bucket.settings.versioning:
            tables.events.append(Event(kind, key, seq, marker.id, bucket_id, marker.id))
            put_entry(tables, replace(latest, latest=False, changed_seq=0))
            return marker
        self._end(tables, latest)
        self._announce(tables, latest, seq + 1)
        return latest

    def _remove(self, tables: Tables, target: Entry) -> Entry:
        seq, current = self._next(tables), current_of(tables, self.place)
        others = [e for e in entries_of(tables, self.place) if e.id != target.id]
        if not target.latest:
            kill(tables, target, self.clock.now)
            if isinstance(current, Tombstone):
                tables.tombstones[self.place] = replace(current, seq=seq)
            elif current is not None:
                put_entry(tables, replace(current, changed_seq=seq))
        elif others:
            kill(tables, target, self.clock.now)
            put_entry(tables, replace(others[0], latest=True, changed_seq=seq))
        else:
            self._bury(tables, target, seq)
        self._announce(tables, target, seq)
        return target

    def _end(self, tables: Tables, entry: Entry) -> None:
        if self.hands_over:
            del tables.versions[entry.id]
        else:
            kill(tables, entry, self.clock.now)

    def _bury(self, tables: Tables, entry: Entry, seq: int) -> None:
        self._end(tables, entry)
        tables.tombstones[self.place] = Tombstone(seq, self.clock.now)

    def _announce(self, tables: Tables, entry: Entry, seq: int) -> None:
        kind = EventType.OBJECT_DELETED
        event = Event(kind, entry.key, seq, self.change, entry.bucket_id, entry.id)
        tables.events.append(event)
        tables.announce(self.change, kind, seq, self.clock.now, entry)

    def _next(self, tables: Tables) -> int:
        last_seq = max(current_seq(tables, self.place), self.after_seq)
        return max(last_seq + 1, self.clock.milliseconds())
