"""What the auditor and the scrubber compare, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from service.model.ids import BlobKey, BucketId, MultipartId, TenantId, VersionId


@dataclass(frozen=True, slots=True)
class Claim:
    """That a version says its bytes lie under a blob key.

    crc64nvme: 8 raw bytes of the whole. dead: replaced or deleted, its blob is about to go.
    seq: the version's, in the order of all changes of its key and of what was moved there.
    """

    version: VersionId
    tenant: TenantId
    bucket_id: BucketId
    key: str
    blob_key: BlobKey
    size_bytes: int
    crc64nvme: bytes
    created_at: datetime
    dead: bool = False
    damaged: bool = False
    seq: int = 0


class Drift(StrEnum):
    """How the two stores can differ."""

    MISSING_BLOB = "missing_blob"
    STRAY_BLOB = "stray_blob"
    SIZE_OR_DIGEST_DIFFERS = "size_or_digest_differs"
    OPEN_MULTIPART_WITHOUT_ENTRY = "open_multipart_without_entry"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, judged. claim: None where no version is concerned."""

    kind: Drift
    blob_key: BlobKey
    claim: Claim | None = None
    multipart_id: MultipartId | None = None


@dataclass(frozen=True, slots=True)
class Stray:
    """A blob, or with an id an open multipart, that nobody knows: a thing for the quarantine."""

    blob_key: BlobKey
    multipart_id: MultipartId | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a worker that goes round in cycles is; times by the database's clock.

    finished_at: None while a cycle is under way. counts: what it found, by its report's names.
    position: the last blob key that is done, "" at the beginning. reading, offset, crc64nvme: the
    blob after it, how many of its bytes are read and the 8 raw bytes of their CRC.
    """

    began_at: datetime | None = None
    finished_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    position: str = ""
    reading: BlobKey | None = None
    offset: int = 0
    crc64nvme: bytes = bytes(8)
