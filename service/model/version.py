"""A version: one immutable content of an object plus its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.model.ids import BlobKey, BucketId, TenantId, VersionId


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What the uploader says of an object; `sniffed_type` is what its head looks like.

    filename: from Content-Disposition, without any path. user_metadata: names in lower case.
    """

    content_type: str = "application/octet-stream"
    sniffed_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    filename: str | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """One committed content. Its id is its ETag: strong, and nobody can forge it.

    digests: algorithm (`crc64nvme`, `sha-256`, …, the names of Repr-Digest) -> raw bytes.
    seq: order among all changes of one key, greater means later. changed_seq: that of the key's
    last change, where it came after this version and left it the current one; else 0.
    latest: false for one that is kept though a younger one, or a delete, came after it.
    own_subject: its events are not those of its key (model/event.py).
    revision: counts metadata changes, from 1.
    damaged_at: when the scrubber found that the bytes in the store are not these any more.
    """

    id: VersionId
    tenant: TenantId
    bucket_id: BucketId
    key: str
    blob_key: BlobKey
    size_bytes: int
    digests: Mapping[str, bytes]
    facts: ObjectFacts
    seq: int
    created_at: datetime
    modified_at: datetime
    revision: int = 1
    latest: bool = True
    damaged_at: datetime | None = None
    changed_seq: int = 0
    own_subject: bool = False

    @property
    def last_seq(self) -> int:
        """`seq` of the last change of the key that this version is the current entry of."""
        return max(self.seq, self.changed_seq)

    @property
    def etag(self) -> str:
        """The entity tag of the content, without quotes."""
        return self.id

    @property
    def metadata_etag(self) -> str:
        """The entity tag of the metadata resource, without quotes."""
        return f"{self.id}.{self.revision}"


@dataclass(frozen=True, slots=True)
class DeleteMarker:
    """What a delete leaves where versions are kept: a version without content, which hides others.

    seq, latest, changed_seq: as a Version's.
    """

    id: VersionId
    tenant: TenantId
    bucket_id: BucketId
    key: str
    seq: int
    created_at: datetime
    latest: bool = True
    changed_seq: int = 0


Entry = Version | DeleteMarker
"""One line of a key's history."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a move made of a version. replaced: whether its new key named an object before."""

    version: Version
    replaced: bool
