"""An upload: the ledger's entry for one version in the making.

States (each step is a compare-and-set on {id, epoch, owner, state}):

    admitting -> open -> completing -> committed     (open -> committed: the blob is whole)
        |        | ^-> sealing |
        '--------'-----'-------'-> undoing -> undone

`admitting` is the state of an upload whose quota is not reserved yet. `sealing` is that of a
resumable one whose multipart is being completed (model/resumable.py). `undoing` never returns.
Every S3 key that an upload ever uses stands in `keys` before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from service.model.ids import (
    BlobKey,
    BucketId,
    MultipartId,
    TenantId,
    UploadId,
    VersionId,
    new_id,
)
from service.model.preconditions import Preconditions
from service.model.resumable import Progress, ResumableTerms
from service.model.version import ObjectFacts, Version


class UploadState(StrEnum):
    ADMITTING = "admitting"
    OPEN = "open"
    SEALING = "sealing"
    COMPLETING = "completing"
    COMMITTED = "committed"
    UNDOING = "undoing"
    UNDONE = "undone"


UNDOABLE = (
    UploadState.ADMITTING,
    UploadState.OPEN,
    UploadState.SEALING,
    UploadState.COMPLETING,
)
"""States from which `undoing` may be won."""
UNFINISHED = (*UNDOABLE, UploadState.UNDOING)
"""States that still owe work; an upload in one of them holds a lease."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """One client's name for one request.

    principal: the API key or link that asks. ordinal: which file of a form, from 0.
    fingerprint: what the request is about; a retry must carry the same.
    """

    principal: str
    key: str
    ordinal: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class MovedFrom:
    """The version of which an upload is a copy, and which goes when it is committed."""

    bucket_id: BucketId
    key: str
    version: VersionId


@dataclass(frozen=True, slots=True)
class Intent:
    """What an upload is going to make, known before its first byte.

    declared_size_bytes: None while the length is unknown. staged: to be committed together with
    others or not at all, so nobody but its owner ever commits it. moved_from: for a move that is a
    copy. resumable: None for one that ends with its request.
    """

    id: UploadId
    version_id: VersionId
    tenant: TenantId
    bucket_id: BucketId
    key: str
    blob_key: BlobKey
    facts: ObjectFacts
    preconditions: Preconditions = field(default_factory=Preconditions)
    declared_size_bytes: int | None = None
    idempotency: Idempotency | None = None
    staged: bool = False
    moved_from: MovedFrom | None = None
    resumable: ResumableTerms | None = None

    def of_tombstone(self) -> Intent:
        """For keys that this upload has used up: an entry of their own, which nobody asks for."""
        return replace(
            self,
            id=UploadId(new_id()),
            version_id=VersionId(new_id()),
            idempotency=None,
            resumable=None,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One acknowledged part. checksum: raw bytes in the store's part algorithm, None for MD5."""

    number: int
    size_bytes: int
    etag: str
    checksum: bytes | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What `completing` records: the whole of what the version will be.

    parts: empty for a single PutObject. base_seq: the key's `seq` when the body was complete.
    """

    size_bytes: int
    digests: Mapping[str, bytes]
    facts: ObjectFacts
    parts: tuple[Part, ...]
    base_seq: int


@dataclass(frozen=True, slots=True)
class Staged:
    """An upload whose bytes are all in the store, short of its commit.

    upload: as its owner admitted it. completion: with parts it is `completing`, else `open`.
    """

    upload: Upload
    completion: Completion


@dataclass(frozen=True, slots=True)
class UsedKey:
    """An S3 key that an upload uses or used; multipart_id once the store has told it."""

    blob_key: BlobKey
    multipart_id: MultipartId | None = None


@dataclass(frozen=True, slots=True)
class UploadRef:
    """The fencing token: every step names all three, and a step under an old one changes nothing.

    epoch: raised by every takeover. owner: a random nonce of whoever holds the lease.
    """

    id: UploadId
    epoch: int
    owner: str


@dataclass(frozen=True, slots=True)
class Upload:
    """The ledger's entry as read back.

    intent.blob_key is the key in use now; `keys` has it and all earlier ones.
    replaced: after the commit, whether the key named a version before.
    committed_at, seq: after the commit, what the version got.
    clean_at: when the sweeper looks at its keys (again); looks: how often it has.
    progress, parts: of a resumable upload that is unfinished, and the parts of its span; its lease
    runs out when it expires.
    """

    ref: UploadRef
    state: UploadState
    intent: Intent
    keys: tuple[UsedKey, ...]
    created_at: datetime
    lease_until: datetime | None = None
    completion: Completion | None = None
    completing_at: datetime | None = None
    committed_at: datetime | None = None
    seq: int | None = None
    replaced: bool = False
    leftovers: tuple[UsedKey, ...] = ()
    clean_at: datetime | None = None
    looks: int = 0
    progress: Progress | None = None
    parts: tuple[Part, ...] = ()

    def version(self) -> Version:
        """The version that this upload committed, as it was then; only for a committed upload."""
        assert self.completion is not None
        assert self.committed_at is not None
        assert self.seq is not None
        return Version(
            id=self.intent.version_id,
            tenant=self.intent.tenant,
            bucket_id=self.intent.bucket_id,
            key=self.intent.key,
            blob_key=self.intent.blob_key,
            size_bytes=self.completion.size_bytes,
            digests=self.completion.digests,
            facts=self.completion.facts,
            seq=self.seq,
            created_at=self.committed_at,
            modified_at=self.committed_at,
        )
