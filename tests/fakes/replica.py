"""What a replica set of three looks like from outside, in one process.

There are two views of the tables. Writes are evaluated on the primary's (`local`); what is answered
or decided on is read from the majority's. They differ only after a write that reached the primary
and no majority, and only until the next write: then it is either rolled back, because another node
was elected, or it turns out to have reached the majority after all, just late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self, TypeVar

from service.errors import OutcomeUnknown
from service.model import event as model
from service.model.bucket import Bucket
from service.model.ids import BucketId, EventId, TenantId, UploadId, VersionId
from service.model.upload import Upload
from service.model.version import DeleteMarker, Entry, Version

T = TypeVar("T")
Place = tuple[TenantId, BucketId, str]


@dataclass(frozen=True)
class Tombstone:
    seq: int
    at: datetime


class Event(NamedTuple):
    """One document of the outbox. id: the upload's, or one made for the deletion."""

    type: str
    key: str
    seq: int
    id: str
    bucket: BucketId
    version: VersionId


@dataclass(frozen=True)
class Published:
    event: model.Event
    position: int
    at: datetime


@dataclass(frozen=True)
class Leader:
    owner: str
    epoch: int
    position: int
    lease_until: datetime


@dataclass
class Tables:
    """Every value is immutable, so a copy of the tables is a snapshot."""

    versions: dict[VersionId, Version] = field(default_factory=dict)
    dead_since: dict[VersionId, datetime] = field(default_factory=dict)
    markers: dict[VersionId, DeleteMarker] = field(default_factory=dict)
    tombstones: dict[Place, Tombstone] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    uploads: dict[UploadId, Upload] = field(default_factory=dict)
    buckets: dict[BucketId, Bucket] = field(default_factory=dict)
    deletions: dict[BucketId, str] = field(default_factory=dict)
    pending: dict[EventId, model.Event] = field(default_factory=dict)
    published: dict[EventId, Published] = field(default_factory=dict)
    publishers: dict[str, Leader] = field(default_factory=dict)

    def announce(
        self, id: str, kind: model.EventType, seq: int, at: datetime, of: model.Subject
    ) -> None:
        """Append an event to the outbox; part of a transaction."""
        self.pending[EventId(id)] = model.Event(EventId(id), kind, seq, at, of)

    def copy(self) -> Self:
        return type(self)(*(getattr(self, each.name).copy() for each in fields(self)))


class Fate(StrEnum):
    """What becomes of a write that only the primary has."""

    ROLLED_BACK = "rolled back"
    LATE = "late"


class Replica:
    def __init__(self) -> None:
        self.local = Tables()
        self._majority: Tables | None = None
        self._fate = Fate.LATE
        self._cut = False
        self._answers_lost = False

    @property
    def majority(self) -> Tables:
        return self.local if self._majority is None else self._majority

    def writable(self) -> Tables:
        """Every write asks for its tables here: its acknowledgement settles what came before."""
        if not self._cut:
            self.settle()
        return self.local

    def settle(self) -> None:
        if self._majority is not None and self._fate is Fate.ROLLED_BACK:
            self.local = self._majority
        self._majority = None

    @contextmanager
    def minority(self, fate: Fate) -> Iterator[None]:
        """What is written inside reaches the primary only, and is not acknowledged."""
        self.settle()
        self._majority, self._fate, self._cut = self.local.copy(), fate, True
        try:
            with self.lost_answers():
                yield
        finally:
            self._cut = False

    @contextmanager
    def lost_answers(self) -> Iterator[None]:
        """A commit inside is not acknowledged, however often it is sent again."""
        self._answers_lost = True
        try:
            yield
        finally:
            self._answers_lost = False

    def commit(self, apply: Callable[[], T], landed: Callable[[Tables], T | None]) -> T:
        """Commit a prepared transaction; without an acknowledgement read it back by majority."""
        result = apply()
        if not self._answers_lost:
            return result
        found = landed(self.majority)
        if found is None:
            raise OutcomeUnknown("the commit was not acknowledged")
        return found


def latest_of(tables: Tables, place: Place) -> Version | None:
    tenant, bucket, key = place
    return next((v for v in latest_in(tables, tenant, bucket) if v.key == key), None)


def latest_in(tables: Tables, tenant: TenantId, bucket: BucketId) -> list[Version]:
    return [
        v
        for v in tables.versions.values()
        if v.latest and v.tenant == tenant and v.bucket_id == bucket
    ]


def entries_of(tables: Tables, place: Place) -> list[Entry]:
    """What counts of a key, the youngest first."""
    found = [*tables.versions.values(), *tables.markers.values()]
    counting = [
        entry
        for entry in found
        if (entry.tenant, entry.bucket_id, entry.key) == place and entry.id not in tables.dead_since
    ]
    return sorted(counting, key=lambda entry: entry.seq, reverse=True)


def current_of(tables: Tables, place: Place) -> Entry | Tombstone | None:
    """The one entry that says what the key names, or that it names nothing."""
    latest = next((entry for entry in entries_of(tables, place) if entry.latest), None)
    return latest or tables.tombstones.get(place)


def current_seq(tables: Tables, place: Place) -> int:
    """`seq` of the last change of a key, deletes included; 0 where nothing is known."""
    current = current_of(tables, place)
    if isinstance(current, Version | DeleteMarker):
        return max(current.seq, current.changed_seq)
    return current.seq if current else 0


def put_entry(tables: Tables, entry: Entry) -> None:
    if isinstance(entry, Version):
        tables.versions[entry.id] = entry
    else:
        tables.markers[entry.id] = entry
