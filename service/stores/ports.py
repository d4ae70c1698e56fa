"""What the use cases may ask of the stores: Protocols without driver types.

Every implementation passes `tests/contract`; a promise that is not in that suite is not made.
All writes to metadata are majority and journalled; what is decided on is read from the primary
with read concern `majority`. Times come from the database's clock. Every call is bounded by the
timeout that its store was configured with and raises StoreTimeout past it. Unless said otherwise a
call may raise StoreUnavailable; a write that may have been applied although its answer was lost
raises OutcomeUnknown.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from service.model.api_key import ApiKey
from service.model.bucket import Bucket, BucketSettings
from service.model.ids import BucketId, KeyId, TenantId
from service.stores.audit_port import AuditStore
from service.stores.blob_port import BlobStore
from service.stores.job_port import JobStore
from service.stores.journal_port import Outbox, Restoring
from service.stores.resumable_port import ResumableLedger
from service.stores.upload_port import UploadLedger
from service.stores.version_port import VersionIndex


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
    def resumables(self) -> ResumableLedger: ...

    @property
    def buckets(self) -> BucketStore: ...

    @property
    def keys(self) -> KeyStore: ...

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def jobs(self) -> JobStore: ...

    @property
    def audits(self) -> AuditStore: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def restoring(self) -> Restoring: ...

    async def start(self, *, rebuilding: bool = False, checking: bool = True) -> None:
        """Check `schema_version` and make what is missing.

        checking: also look for damage first, for a few seconds at most, where the engine can.
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
    "JobStore",
    "KeyStore",
    "LeaseStore",
    "MetadataStore",
    "Outbox",
    "Restoring",
    "ResumableLedger",
    "UploadLedger",
    "VersionIndex",
]
