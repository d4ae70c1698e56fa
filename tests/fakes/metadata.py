"""The metadata ports in memory.

Nothing awaits inside a step, so each is a transaction; `clock` stands for the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from service.errors import (
    BucketDeleting,
    BucketExists,
    BucketNotFound,
    Conflict,
    Fenced,
    PreconditionFailed,
)
from service.model.api_key import ApiKey
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.ids import (
    BlobKey,
    BucketId,
    KeyId,
    MultipartId,
    TenantId,
    UploadId,
    VersionId,
    new_id,
)
from service.model.preconditions import Preconditions
from service.model.upload import (
    UNDOABLE,
    UNFINISHED,
    Completion,
    Intent,
    Upload,
    UploadRef,
    UploadState,
    UsedKey,
)
from service.model.version import Version


class Clock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def milliseconds(self) -> int:
        return int(self.now.timestamp() * 1000)


@dataclass
class Tombstone:
    seq: int
    at: datetime


class FakeVersionIndex:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.versions: dict[VersionId, Version] = {}
        self.dead_since: dict[VersionId, datetime] = {}
        self.tombstones: dict[tuple[TenantId, BucketId, str], Tombstone] = {}
        self.events: list[tuple[str, str, int]] = []

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None:
        return next((v for v in self._latest(tenant, bucket) if v.key == key), None)

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        found = self.versions.get(version)
        if found is None or version in self.dead_since:
            return None
        return (
            found if (found.tenant, found.bucket_id, found.key) == (tenant, bucket, key) else None
        )

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        latest = await self.get_latest(tenant, bucket, key)
        if latest is not None:
            return latest.seq
        tombstone = self.tombstones.get((tenant, bucket, key))
        return tombstone.seq if tombstone else 0

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
        def after(key: str) -> bool:
            one, other = key.encode(), start.encode()
            return one >= other if inclusive else one > other

        found = [
            v for v in self._latest(tenant, bucket) if v.key.startswith(prefix) and after(v.key)
        ]
        return sorted(found, key=lambda v: v.key.encode())[:limit]

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Version | None:
        latest = await self.get_latest(tenant, bucket, key)
        preconditions.check_write(latest)
        if latest is None:
            return None
        seq = max(latest.seq + 1, self._clock.milliseconds())
        self.kill(latest)
        self.tombstones[tenant, bucket, key] = Tombstone(seq, self._clock.now)
        self.events.append(("object.deleted", key, seq))
        return latest

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        return bool(self._latest(tenant, bucket))

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        before = self._clock.now - timedelta(seconds=older_than_s)
        found = [self.versions[name] for name, at in self.dead_since.items() if at <= before]
        return found[:limit]

    async def forget_dead(self, version: VersionId) -> None:
        if self.dead_since.pop(version, None) is not None:
            del self.versions[version]

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        old = [name for name, stone in self.tombstones.items() if stone.at <= before][:limit]
        for name in old:
            del self.tombstones[name]
        return len(old)

    def add(self, version: Version) -> None:
        self.versions[version.id] = version
        self.tombstones.pop((version.tenant, version.bucket_id, version.key), None)
        self.events.append(("object.created", version.key, version.seq))

    def kill(self, version: Version) -> None:
        self.versions[version.id] = replace(version, latest=False)
        self.dead_since[version.id] = self._clock.now

    def _latest(self, tenant: TenantId, bucket: BucketId) -> list[Version]:
        return [
            v
            for v in self.versions.values()
            if v.latest and v.tenant == tenant and v.bucket_id == bucket
        ]


class FakeUploadLedger:
    def __init__(self, clock: Clock, versions: FakeVersionIndex, buckets: FakeBucketStore) -> None:
        self._clock = clock
        self._versions = versions
        self._buckets = buckets
        self.uploads: dict[UploadId, Upload] = {}

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        wanted = intent.idempotency
        for other in self.uploads.values():
            held = other.intent.idempotency
            if (
                wanted is not None
                and held is not None
                and other.intent.tenant == intent.tenant
                and (held.principal, held.key, held.ordinal)
                == (wanted.principal, wanted.key, wanted.ordinal)
            ):
                return other
        upload = Upload(
            ref=UploadRef(intent.id, 1, owner),
            state=UploadState.OPEN,
            intent=intent,
            keys=(UsedKey(intent.blob_key),),
            created_at=self._clock.now,
            lease_until=self._lease(lease_s),
        )
        self.uploads[intent.id] = upload
        return upload

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        upload = self._owned(ref, *UNFINISHED)
        self._save(replace(upload, lease_until=self._lease(lease_s)))

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        intent = replace(upload.intent, blob_key=key)
        self._save(replace(upload, intent=intent, keys=(*upload.keys, UsedKey(key))))

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        if key not in {used.blob_key for used in upload.keys}:
            raise Fenced
        keys = tuple(
            UsedKey(key, multipart) if used.blob_key == key else used for used in upload.keys
        )
        self._save(replace(upload, keys=keys))

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        self._save(
            replace(
                upload,
                state=UploadState.COMPLETING,
                completion=completion,
                completing_at=self._clock.now,
                lease_until=self._lease(lease_s),
            )
        )

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        upload = self._owned(ref, UploadState.COMPLETING)
        intent = upload.intent
        bucket = self._buckets.by_id(intent.tenant, intent.bucket_id)
        if bucket.state is BucketState.DELETING:
            raise BucketDeleting
        place = (intent.tenant, intent.bucket_id, intent.key)
        latest = await self._versions.get_latest(*place)
        intent.preconditions.check_write(latest)
        previous = await self._versions.current_seq(*place)
        if base_seq is not None and previous > base_seq:
            raise Conflict("something newer was committed")
        leftovers = tuple(used for used in upload.keys if used.blob_key != intent.blob_key)
        committed = replace(
            upload,
            state=UploadState.COMMITTED,
            committed_at=self._clock.now,
            seq=max(previous + 1, self._clock.milliseconds()),
            replaced=latest is not None,
            leftovers=leftovers,
            clean_at=self._clock.now if leftovers else None,
            lease_until=None,
        )
        if latest is not None:
            self._versions.kill(latest)
        self._versions.add(committed.version())
        self._save(committed)
        return committed

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        upload = self._owned(ref, *UNFINISHED)
        undoing = replace(upload, state=UploadState.UNDOING, lease_until=self._lease(lease_s))
        self._save(undoing)
        return undoing

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        found = self.uploads.get(upload)
        if found is None or found.state not in UNDOABLE:
            return None
        return self._taken(found, owner, lease_s, UploadState.UNDOING)

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        found = self.uploads.get(upload)
        if found is None or found.state not in UNFINISHED or not self._ran_out(found):
            return None
        return self._taken(found, owner, lease_s, found.state)

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        upload = self._owned(ref, UploadState.UNDOING)
        self._save(
            replace(
                upload,
                state=UploadState.UNDONE,
                intent=replace(upload.intent, idempotency=None),
                lease_until=None,
                clean_at=self._lease(look_again_s),
            )
        )

    async def get(self, upload: UploadId) -> Upload | None:
        return self.uploads.get(upload)

    async def expired(self, *, limit: int) -> list[Upload]:
        found = [u for u in self.uploads.values() if u.state in UNFINISHED and self._ran_out(u)]
        return found[:limit]

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        found = [
            u
            for u in self.uploads.values()
            if u.state in UNDOABLE and (u.intent.tenant, u.intent.bucket_id) == (tenant, bucket)
        ]
        return found[:limit]

    async def due(self, *, limit: int) -> list[Upload]:
        now = self._clock.now
        found = [u for u in self.uploads.values() if u.clean_at is not None and u.clean_at <= now]
        return found[:limit]

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        found = self.uploads[upload]
        if look_again_s is None:
            self._save(replace(found, leftovers=(), clean_at=None, looks=found.looks + 1))
        else:
            again = self._lease(look_again_s)
            self._save(replace(found, clean_at=again, looks=found.looks + 1))

    async def forget(self, upload: UploadId) -> None:
        found = self.uploads.get(upload)
        if found is not None and found.state is UploadState.UNDONE:
            del self.uploads[upload]

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        old = [
            u.ref.id
            for u in self.uploads.values()
            if u.committed_at is not None and u.committed_at <= before and not u.leftovers
        ][:limit]
        for name in old:
            del self.uploads[name]
        return len(old)

    async def count(self) -> Mapping[UploadState, int]:
        counts: dict[UploadState, int] = {}
        for upload in self.uploads.values():
            counts[upload.state] = counts.get(upload.state, 0) + 1
        return counts

    def _owned(self, ref: UploadRef, *states: UploadState) -> Upload:
        upload = self.uploads.get(ref.id)
        if upload is None or upload.ref != ref or upload.state not in states:
            raise Fenced
        return upload

    def _taken(self, upload: Upload, owner: str, lease_s: float, state: UploadState) -> Upload:
        taken = replace(
            upload,
            ref=UploadRef(upload.ref.id, upload.ref.epoch + 1, owner),
            state=state,
            lease_until=self._lease(lease_s),
        )
        self._save(taken)
        return taken

    def _save(self, upload: Upload) -> None:
        self.uploads[upload.ref.id] = upload

    def _lease(self, lease_s: float) -> datetime:
        return self._clock.now + timedelta(seconds=lease_s)

    def _ran_out(self, upload: Upload) -> bool:
        return upload.lease_until is not None and upload.lease_until < self._clock.now


class FakeBucketStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.buckets: dict[BucketId, Bucket] = {}
        self.deletions: dict[BucketId, str] = {}

    async def create(self, tenant: TenantId, name: str, settings: BucketSettings) -> Bucket:
        if await self.get(tenant, name) is not None:
            raise BucketExists
        bucket = Bucket(
            BucketId(new_id()), tenant, name, BucketState.ACTIVE, self._clock.now, 1, settings
        )
        self.buckets[bucket.id] = bucket
        return bucket

    async def get(self, tenant: TenantId, name: str) -> Bucket | None:
        return next(
            (b for b in self.buckets.values() if (b.tenant, b.name) == (tenant, name)), None
        )

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[Bucket]:
        found = [b for b in self.buckets.values() if b.tenant == tenant and b.name > after]
        return sorted(found, key=lambda b: b.name)[:limit]

    async def update(
        self, tenant: TenantId, bucket: BucketId, settings: BucketSettings, *, revision: int
    ) -> Bucket:
        found = self.by_id(tenant, bucket)
        if found.state is BucketState.DELETING:
            raise BucketDeleting
        if found.revision != revision:
            raise PreconditionFailed
        self.buckets[bucket] = replace(found, settings=settings, revision=revision + 1)
        return self.buckets[bucket]

    async def begin_delete(self, tenant: TenantId, bucket: BucketId) -> str:
        found = self.by_id(tenant, bucket)
        self.buckets[bucket] = replace(found, state=BucketState.DELETING)
        return self.deletions.setdefault(bucket, new_id())

    async def revert_delete(self, tenant: TenantId, bucket: BucketId, nonce: str) -> None:
        if self.deletions.get(bucket) == nonce:
            del self.deletions[bucket]
            self.buckets[bucket] = replace(self.by_id(tenant, bucket), state=BucketState.ACTIVE)

    async def remove(self, tenant: TenantId, bucket: BucketId, nonce: str) -> bool:
        if self.deletions.get(bucket) != nonce or self.buckets[bucket].tenant != tenant:
            return False
        del self.deletions[bucket]
        del self.buckets[bucket]
        return True

    def by_id(self, tenant: TenantId, bucket: BucketId) -> Bucket:
        found = self.buckets.get(bucket)
        if found is None or found.tenant != tenant:
            raise BucketNotFound
        return found


class FakeKeyStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.keys: dict[KeyId, ApiKey] = {}

    async def create(self, key: ApiKey) -> None:
        self.keys[key.id] = key

    async def get(self, key: KeyId) -> ApiKey | None:
        return self.keys.get(key)

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[ApiKey]:
        found = [k for k in self.keys.values() if k.tenant == tenant and k.id > after]
        return sorted(found, key=lambda k: k.id)[:limit]

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        found = self.keys.get(key)
        if found is None or found.tenant != tenant:
            return False
        self.keys[key] = replace(found, revoked_at=found.revoked_at or self._clock.now)
        return True


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
        self.versions = FakeVersionIndex(self.clock)
        self.buckets = FakeBucketStore(self.clock)
        self.uploads = FakeUploadLedger(self.clock, self.versions, self.buckets)
        self.keys = FakeKeyStore(self.clock)
        self.leases = FakeLeaseStore(self.clock)

    async def start(self) -> None:
        return

    async def migrate(self) -> int:
        return 1

    async def ping(self) -> None:
        return

    async def now(self) -> datetime:
        return self.clock.now

    async def close(self) -> None:
        return
