"""What the use cases may ask of the stores: Protocols without driver types.

Every implementation passes `tests/contract`; a promise that is not in that suite is not made.
All writes to metadata are majority and journalled; what is decided on is read from the primary
with read concern `majority`. Times come from the database's clock. Every call is bounded by the
timeout that its store was configured with and raises StoreTimeout past it. Unless said otherwise a
call may raise StoreUnavailable; a write that may have been applied although its answer was lost
raises OutcomeUnknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from service.model.api_key import ApiKey
from service.model.bucket import Bucket, BucketSettings
from service.model.ids import (
    BlobKey,
    BucketId,
    KeyId,
    MultipartId,
    TenantId,
    UploadId,
    VersionId,
)
from service.model.preconditions import Preconditions
from service.model.upload import (
    Completion,
    Intent,
    Upload,
    UploadRef,
    UploadState,
)
from service.model.version import Version
from service.stores.audit_port import AuditStore
from service.stores.blob_port import BlobStore
from service.stores.journal_port import Outbox, Restoring


class VersionIndex(Protocol):
    """Committed names and facts. Every method is limited to one tenant's bucket."""

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None: ...

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        """A version that still counts; a dead one is None."""

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        """`seq` of the key's last change, deletes included; 0 where nothing is known."""

    async def scan(
        self,
        tenant: TenantId,
        bucket: BucketId,
        *,
        prefix: str,
        start: str,
        inclusive: bool,
        limit: int,
    ) -> list[Version]:
        """Latest versions with the prefix, keys >= start (or > start), by key in UTF-8 order.

        start: "" for the beginning.
        """

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Version | None:
        """Make the latest version dead and leave a tombstone, in one transaction with its event.

        Returns what was deleted, None where the key named nothing. The preconditions are
        evaluated inside. A conflict runs it again until the deadline.
        Raises PreconditionFailed, StoreUnavailable, OutcomeUnknown.
        """

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        """Whether any version counts; dead ones and tombstones do not."""

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        """Versions of any tenant that have been dead for that long."""

    async def forget_dead(self, version: VersionId) -> None:
        """Drop the document of a dead version whose blob is gone."""

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        """Drop old tombstones of keys, of any tenant; returns how many."""


class UploadLedger(Protocol):
    """The write ledger. A step whose ref or state does not hold raises Fenced, changing nothing."""

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        """Write down the intent and return it as `open`, epoch 1.

        Where the idempotency key is taken already, returns the earlier upload, whose id differs
        from the intent's, and writes nothing. (`admitting` precedes `open` once quotas exist.)
        """

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        """Extend the lease of an unfinished upload."""

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        """`open`: go on under a fresh blob key, noted before it is used."""

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        """`open`: note a multipart's id before its first part."""

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        """`open` -> `completing`, lease extended."""

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        """`completing` -> `committed`: the transaction that makes a version visible.

        Inside, under one snapshot: the upload is still {epoch, owner, completing}; its bucket is
        there and active; the intent's preconditions hold; where `base_seq` is given (the sweeper
        rolls forward), nothing newer than it was committed on the key. Then the old version is
        dead, the new one latest with seq = max(previous + 1, database milliseconds), keys other
        than the blob's become leftovers, and the event is appended.
        A conflict runs it all again, jittered, until the deadline. An ambiguous commit is repeated
        on the same session, then read back by upload id before anything is evaluated again.
        Raises Fenced, PreconditionFailed, BucketNotFound, BucketDeleting, Conflict (something newer
        than base_seq), StoreUnavailable (not committed by this call), OutcomeUnknown.
        """

    async def commit_whole(
        self, upload: Upload, completion: Completion, *, deadline_s: float
    ) -> Upload:
        """`open` -> `committed` in one transaction, for a blob that one PutObject stored whole.

        upload: as its owner has admitted it, with its first key in use; it is not read again. What
        holds inside and what is raised are those of `commit`; `base_seq` counts for nothing.
        Raises Fenced also where the upload has used another key since.
        """

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        """Win `undoing` from any undoable state, or find it won under this ref already.

        Only after it returns may it be said that the upload was not committed.
        """

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        """Take an undoable upload over whatever its lease, straight into `undoing`, epoch + 1.

        None where it is in no undoable state any more.
        """

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        """Own an unfinished upload whose lease ran out: epoch + 1, same state.

        None where the lease holds or nothing is owed.
        """

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        """`undoing` -> `undone`: a tombstone that frees the idempotency key.

        clean_at = now + look_again_s: late requests of a dead owner are looked for once more.
        """

    async def get(self, upload: UploadId) -> Upload | None: ...

    async def expired(self, *, limit: int) -> list[Upload]:
        """Unfinished uploads whose lease ran out."""

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        """Uploads that could still commit, leased or not; one that is `undoing` cannot."""

    async def due(self, *, limit: int) -> list[Upload]:
        """Tombstones, and committed uploads with leftovers, whose `clean_at` has come."""

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        """Leftovers were seen gone: look again later, or (None) drop them from the entry."""

    async def forget(self, upload: UploadId) -> None:
        """Drop a tombstone that was looked at for the last time."""

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        """Drop entries committed that long ago that have no leftovers; returns how many."""

    async def count(self) -> Mapping[UploadState, int]: ...


class BucketStore(Protocol):
    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        """Raises BucketExists."""

    async def get(self, tenant: TenantId, name: str) -> Bucket | None: ...

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[Bucket]:
        """By name, names > after."""

    async def update(
        self, tenant: TenantId, bucket: BucketId, settings: BucketSettings, *, revision: int
    ) -> Bucket:
        """Replace the settings. Raises PreconditionFailed where `revision` is not the current one,
        BucketNotFound, BucketDeleting."""

    async def begin_delete(self, tenant: TenantId, bucket: BucketId) -> str:
        """`active` -> `deleting` under a fresh nonce, or the nonce of the deletion under way.

        The nonce tells one deletion from a later one of the same bucket. Raises BucketNotFound.
        """

    async def revert_delete(self, tenant: TenantId, bucket: BucketId, nonce: str) -> None:
        """`deleting` -> `active`, for this deletion only."""

    async def remove(self, tenant: TenantId, bucket: BucketId, nonce: str) -> bool:
        """Drop a bucket that this deletion still holds; False where it holds none any more."""


class KeyStore(Protocol):
    async def create(self, key: ApiKey) -> None: ...

    async def get(self, key: KeyId) -> ApiKey | None: ...

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[ApiKey]: ...

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        """Idempotent; False where the tenant has no such key."""


class LeaseStore(Protocol):
    """Named locks with an end, so that one replica at a time does a worker's job."""

    async def acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take or extend; False while somebody else holds it."""

    async def release(self, name: str, owner: str) -> None: ...


class MetadataStore(Protocol):
    """The whole of one metadata engine: what the composition root opens and closes."""

    @property
    def versions(self) -> VersionIndex: ...

    @property
    def uploads(self) -> UploadLedger: ...

    @property
    def buckets(self) -> BucketStore: ...

    @property
    def keys(self) -> KeyStore: ...

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def audits(self) -> AuditStore: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def restoring(self) -> Restoring: ...

    async def start(self, *, rebuilding: bool = False) -> None:
        """Check `schema_version` and make what is missing.

        Raises SchemaMismatch for a database of a newer release, or of an older one that needs
        `mediagate migrate`, and unless `rebuilding` for one whose rebuild was not finished.
        """

    async def migrate(self) -> int:
        """Bring an older schema up to this release; returns the version it has now."""

    async def ping(self) -> None: ...

    async def now(self) -> datetime:
        """The database's clock."""

    async def close(self) -> None: ...


__all__ = [
    "AuditStore",
    "BlobStore",
    "BucketStore",
    "KeyStore",
    "LeaseStore",
    "MetadataStore",
    "Outbox",
    "Restoring",
    "UploadLedger",
    "VersionIndex",
]
