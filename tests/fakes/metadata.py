"""The metadata ports in memory.

Nothing awaits inside a step, so each is a transaction; `clock` stands for the database's clock.
Reads see what the majority has, steps are evaluated on the primary (replica.py). Transactions are
prepared and applied apart, so that a test can hold a commit back and let it arrive late.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from service.errors import (
    BucketDeleting,
    BucketExists,
    BucketNotFound,
    Conflict,
    PreconditionFailed,
    SchemaMismatch,
)
from service.model.api_key import ApiKey
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.event import EventType
from service.model.ids import BucketId, KeyId, TenantId, new_id
from tests.fakes.audits import FakeAuditStore
from tests.fakes.clock import Clock
from tests.fakes.jobs import FakeJobStore
from tests.fakes.outbox import FakeOutbox, FakeRestoring
from tests.fakes.replica import Replica
from tests.fakes.resumables import FakeResumableLedger
from tests.fakes.upload_ledger import FakeUploadLedger
from tests.fakes.version_index import FakeVersionIndex


class FakeBucketStore:
    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica

    @property
    def buckets(self) -> dict[BucketId, Bucket]:
        return self._replica.local.buckets

    @property
    def deletions(self) -> dict[BucketId, str]:
        return self._replica.local.deletions

    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        tables = self._replica.writable()
        if any((b.tenant, b.name) == (tenant, name) for b in tables.buckets.values()):
            raise BucketExists
        bucket = Bucket(
            BucketId(new_id()),
            tenant,
            name,
            BucketState.ACTIVE,
            self._clock.now,
            1,
            settings,
            settings.versioning,
        )
        tables.buckets[bucket.id] = bucket
        self._announce(EventType.BUCKET_CREATED, 1, bucket)
        return bucket

    async def get(self, tenant: TenantId, name: str) -> Bucket | None:
        buckets = self._replica.majority.buckets.values()
        return next((b for b in buckets if (b.tenant, b.name) == (tenant, name)), None)

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[Bucket]:
        buckets = self._replica.majority.buckets.values()
        found = [b for b in buckets if b.tenant == tenant and b.name > after]
        return sorted(found, key=lambda b: b.name)[:limit]

    async def update(
        self, tenant: TenantId, bucket: BucketId, settings: BucketSettings, *, revision: int
    ) -> Bucket:
        found = self._by_id(tenant, bucket)
        if found.state is BucketState.DELETING:
            raise BucketDeleting
        if found.revision != revision:
            raise PreconditionFailed
        self.buckets[bucket] = replace(
            found,
            settings=settings,
            revision=revision + 1,
            has_kept=found.has_kept or settings.versioning,
        )
        self._announce(EventType.BUCKET_UPDATED, revision + 1, self.buckets[bucket])
        return self.buckets[bucket]

    async def begin_delete(self, tenant: TenantId, bucket: BucketId) -> str:
        found = self._by_id(tenant, bucket)
        self.buckets[bucket] = replace(found, state=BucketState.DELETING)
        return self.deletions.setdefault(bucket, new_id())

    async def revert_delete(self, tenant: TenantId, bucket: BucketId, nonce: str) -> None:
        found = self._replica.writable().buckets.get(bucket)
        if found is not None and found.tenant == tenant and self.deletions.get(bucket) == nonce:
            del self.deletions[bucket]
            self.buckets[bucket] = replace(found, state=BucketState.ACTIVE)

    async def remove(self, tenant: TenantId, bucket: BucketId, nonce: str) -> bool:
        tables = self._replica.writable()
        if tables.deletions.get(bucket) != nonce or tables.buckets[bucket].tenant != tenant:
            return False
        del tables.deletions[bucket]
        removed = replace(tables.buckets.pop(bucket), state=BucketState.ACTIVE)
        self._announce(EventType.BUCKET_DELETED, removed.revision + 1, removed)
        return True

    def _announce(self, kind: EventType, seq: int, of: Bucket) -> None:
        self._replica.local.announce(new_id(), kind, seq, self._clock.now, of)

    def _by_id(self, tenant: TenantId, bucket: BucketId) -> Bucket:
        found = self._replica.writable().buckets.get(bucket)
        if found is None or found.tenant != tenant:
            raise BucketNotFound
        return found


class FakeKeyStore:
    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica
        self.keys: dict[KeyId, ApiKey] = {}

    async def create(self, key: ApiKey) -> None:
        if key.id in self.keys:
            raise Conflict("there is such an API key already")
        self.keys[key.id] = key
        self._announce(EventType.KEY_CREATED, 1, key.created_at, key)

    async def get(self, key: KeyId) -> ApiKey | None:
        return self.keys.get(key)

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[ApiKey]:
        found = [k for k in self.keys.values() if k.tenant == tenant and k.id > after]
        return sorted(found, key=lambda k: k.id)[:limit]

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        found = self.keys.get(key)
        if found is None or found.tenant != tenant:
            return False
        if found.revoked_at is None:
            now = self._clock.now
            self.keys[key] = replace(found, revoked_at=now)
            self._announce(EventType.KEY_REVOKED, 2, now, self.keys[key])
        return True

    def _announce(self, kind: EventType, seq: int, at: datetime, of: ApiKey) -> None:
        self._replica.writable().announce(new_id(), kind, seq, at, of)


class FakeLeaseStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held: dict[str, tuple[str, datetime]] = {}

    async def acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        holder = self.held.get(name)
        if holder and holder[0] != owner and holder[1] > self._clock.now:
            return False
        self.held[name] = (owner, self._clock.now + timedelta(seconds=ttl_s))
        return True

    async def release(self, name: str, owner: str) -> None:
        if name in self.held and self.held[name][0] == owner:
            del self.held[name]


class FakeMetadata:
    def __init__(self) -> None:
        self.clock = Clock()
        self.replica = Replica()
        self.versions = FakeVersionIndex(self.clock, self.replica)
        self.buckets = FakeBucketStore(self.clock, self.replica)
        self.uploads = FakeUploadLedger(self.clock, self.replica, self.versions)
        self.resumables = FakeResumableLedger(self.clock, self.replica)
        self.keys = FakeKeyStore(self.clock, self.replica)
        self.leases = FakeLeaseStore(self.clock)
        self.jobs = FakeJobStore(self.clock)
        self.audits = FakeAuditStore(self.clock, self.replica)
        self.outbox = FakeOutbox(self.clock, self.replica)
        self.restoring = FakeRestoring(self.replica, self.keys)

    async def start(self, *, rebuilding: bool = False, checking: bool = True) -> None:
        if self.restoring.under_way and not rebuilding:
            raise SchemaMismatch("a rebuild was not finished")

    async def migrate(self) -> int:
        return 1

    async def ping(self) -> None:
        return

    async def now(self) -> datetime:
        return self.clock.now

    async def close(self) -> None:
        return
