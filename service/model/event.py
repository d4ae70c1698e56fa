"""An event: what one change made of one object, bucket or API key, with all its facts.

Every change writes its event in its own transaction. `seq` orders the events of one subject, so
the last of them says what the subject is now; that is all that a rebuild needs.

In a bucket that never kept versions a key is a subject: its last event is all there is of it. Where
versions are kept each version and each delete marker is a subject of its own, and what the key
names is the one of the highest `seq` that was not deleted. A version from the time before keeps the
key's subject to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.api_key import ApiKey
from service.model.bucket import Bucket
from service.model.ids import EventId, TenantId
from service.model.version import DeleteMarker, Version

Subject = Version | DeleteMarker | Bucket | ApiKey


class EventType(StrEnum):
    OBJECT_CREATED = "object.created"
    OBJECT_DELETED = "object.deleted"
    MARKER_CREATED = "object.delete_marker_created"
    OBJECT_DAMAGED = "object.damaged"
    OBJECT_REPAIRED = "object.repaired"
    BUCKET_CREATED = "bucket.created"
    BUCKET_UPDATED = "bucket.updated"
    BUCKET_DELETED = "bucket.deleted"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"


REMOVALS = frozenset({EventType.OBJECT_DELETED, EventType.BUCKET_DELETED})
"""After them there is no such subject any more; `of` is what it was."""


@dataclass(frozen=True, slots=True)
class Event:
    """id: the same however often the event is delivered. of: the subject after the change.

    seq: among the events of one subject, greater means later. at: by the database's clock.
    """

    id: EventId
    type: EventType
    seq: int
    at: datetime
    of: Subject

    @property
    def tenant(self) -> TenantId:
        return self.of.tenant

    @property
    def subject(self) -> str:
        """What the event is about; in the order of these, buckets come before their objects."""
        match self.of:
            case Bucket():
                return f"bucket/{self.of.tenant}/{self.of.id}"
            case ApiKey():
                return f"key/{self.of.tenant}/{self.of.id}"
            case Version(own_subject=False):
                return _key_subject(self.of)
            case Version() | DeleteMarker():
                return f"{_key_subject(self.of)}\0{self.of.id}"

    @property
    def removes(self) -> bool:
        return self.type in REMOVALS


def _key_subject(of: Version | DeleteMarker) -> str:
    """No key has a NUL, so all subjects of one key stand side by side in their order."""
    return f"object/{of.tenant}/{of.bucket_id}/{of.key}"


@dataclass(frozen=True, slots=True)
class Publisher:
    """The one who may publish, by the word of the database.

    owner: a random nonce of its process. epoch: risen with every takeover, never again the same.
    position: the last one that was assigned, 0 for none.
    """

    owner: str
    epoch: int
    position: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events with the positions first, first + 1, …; those of one subject in order of `seq`."""

    first: int
    events: tuple[Event, ...]

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the journal has not got yet. lag_s: the age of the oldest event, 0 where there is none.

    epoch, position: of the publisher, 0 where there never was one.
    """

    pending: int
    lag_s: float
    epoch: int = 0
    position: int = 0
