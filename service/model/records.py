"""Everything that a metadata engine keeps, as values: what moves from one engine to another.

Leases are not among them: they belong to processes, and none runs while metadata move.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.api_key import ApiKey
from service.model.audit import Progress, Stray
from service.model.bucket import Bucket
from service.model.event import Event
from service.model.ids import BucketId, TenantId
from service.model.job import Job
from service.model.upload import Upload
from service.model.version import Entry


class RecordKind(StrEnum):
    BUCKETS = "buckets"
    VERSIONS = "versions"
    UPLOADS = "uploads"
    API_KEYS = "api_keys"
    JOBS = "jobs"
    EVENTS = "events"
    PUBLISHERS = "publishers"
    STRAYS = "strays"
    PROGRESS = "progress"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a key without any entry leaves: the order of its changes."""

    id: str
    tenant: TenantId
    bucket_id: BucketId
    key: str
    seq: int


@dataclass(frozen=True, slots=True)
class BucketRecord:
    """deletion: the nonce of the deletion under way."""

    bucket: Bucket
    deletion: str | None

    @property
    def id(self) -> str:
        return self.bucket.id


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """dead_at: for a version that only the sweeper wants, and for every tombstone."""

    entry: Entry | Tombstone
    dead_at: datetime | None

    @property
    def id(self) -> str:
        return self.entry.id


@dataclass(frozen=True, slots=True)
class UploadRecord:
    upload: Upload

    @property
    def id(self) -> str:
        return self.upload.ref.id


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    key: ApiKey

    @property
    def id(self) -> str:
        return self.key.id


@dataclass(frozen=True, slots=True)
class JobRecord:
    job: Job
    owner: str | None
    lease_until: datetime | None

    @property
    def id(self) -> str:
        return self.job.id


@dataclass(frozen=True, slots=True)
class EventRecord:
    """position, published_at: None for one that waits to be published."""

    event: Event
    position: int | None
    published_at: datetime | None

    @property
    def id(self) -> str:
        return self.event.id


@dataclass(frozen=True, slots=True)
class PublisherRecord:
    id: str
    owner: str
    epoch: int
    position: int
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class StrayRecord:
    id: str
    stray: Stray
    found_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """id: the worker's name."""

    id: str
    progress: Progress


Record = (
    BucketRecord
    | VersionRecord
    | UploadRecord
    | ApiKeyRecord
    | JobRecord
    | EventRecord
    | PublisherRecord
    | StrayRecord
    | ProgressRecord
)
