"""Every metadata engine behind one face, and the few moves that the contract tests repeat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from service.model.bucket import Bucket, BucketSettings
from service.model.ids import BlobKey, BucketId, TenantId, UploadId, VersionId, new_id
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Completion, Idempotency, Intent, Upload, UploadState
from service.model.version import Entry, ObjectFacts, Version
from service.stores.blob_layout import new_blob_key
from service.stores.ports import MetadataStore

TENANT, OTHER_TENANT = TenantId("acme"), TenantId("other")
OWNER = "nonce-1"
DEADLINE_S = 8.0

# What a careless store would take for an operator, a field path or the end of a string.
TRICKY = "$key.with.$dots and 'quotes' é \U0001f3ac"
TRICKY_FACTS = ObjectFacts(
    content_type="video/mp4",
    sniffed_type=None,
    content_encoding="gzip",
    content_language="de",
    cache_control="$$NOW",
    filename="$literal",
    user_metadata={"$where": "$a", "a.b": "{$ne: null}", "": ""},
    tags={"$eq": "$b"},
)
CREATE_ONLY = Preconditions(if_none_match=EntityTags(any=True))


def only_if(etag: str) -> Preconditions:
    return Preconditions(if_match=EntityTags((EntityTag(etag),)))


def completion(base_seq: int = 0) -> Completion:
    digests = {"crc64nvme": bytes(range(8)), "sha-256": b"\0" * 32}
    return Completion(1 << 42, digests, TRICKY_FACTS, (), base_seq)


def named(key: str = "$retry", fingerprint: str = "print", **changes: Any) -> Idempotency:
    values: dict[str, Any] = {"principal": "$who", "ordinal": 0}
    return Idempotency(key=key, fingerprint=fingerprint, **(values | changes))


WRONG_REFS = {
    "older epoch": lambda ref: replace(ref, epoch=ref.epoch - 1),
    "newer epoch": lambda ref: replace(ref, epoch=ref.epoch + 1),
    "another owner": lambda ref: replace(ref, owner="nonce-2"),
    "unknown upload": lambda ref: replace(ref, id=UploadId(new_id())),
}
"""Refs that are not those of an upload's owner."""


@dataclass
class World:
    """One engine with one bucket. pass_time: let the engine's clock go on by so many seconds.

    whole: `ready` uploads are `open`, with a blob that one PutObject stored, not `completing`.
    """

    store: MetadataStore
    pass_time: Callable[[float], Awaitable[None]]
    bucket: Bucket = field(init=False)
    whole: bool = False

    async def open(self) -> World:
        self.bucket = await self.store.buckets.create(TENANT, "films", BucketSettings())
        return self

    async def keeping(self, name: str = "kept") -> World:
        """The same engine with another bucket, which keeps versions."""
        other = replace(self)
        other.bucket = await self.store.buckets.create(
            TENANT, name, BucketSettings(versioning=True)
        )
        return other

    async def set_versioning(self, versioning: bool) -> None:
        self.bucket = await self.store.buckets.update(
            *self.place, BucketSettings(versioning=versioning), revision=self.bucket.revision
        )

    async def history(
        self, key: str = "k", *, before_seq: int | None = None, limit: int = 100
    ) -> list[Entry]:
        return await self.store.versions.history(
            *self.place, key, before_seq=before_seq, limit=limit
        )

    async def delete_version(
        self, version: str, key: str = "k", preconditions: Preconditions | None = None
    ) -> Any:
        return await self.store.versions.delete_version(
            *self.place,
            key,
            VersionId(version),
            preconditions or Preconditions(),
            deadline_s=DEADLINE_S,
        )

    @property
    def place(self) -> tuple[TenantId, BucketId]:
        return TENANT, self.bucket.id

    def intent(self, key: str = "k", **changes: Any) -> Intent:
        values: dict[str, Any] = {"tenant": TENANT, "bucket_id": self.bucket.id}
        values |= {"blob_key": new_blob_key(TENANT), "facts": TRICKY_FACTS}
        return Intent(
            id=UploadId(new_id()),
            version_id=VersionId(new_id()),
            key=key,
            **(values | changes),
        )

    async def opened(self, key: str = "k", *, lease_s: float = 60, **changes: Any) -> Upload:
        return await self.store.uploads.admit(self.intent(key, **changes), OWNER, lease_s)

    async def completing(self, key: str = "k", *, lease_s: float = 60, **changes: Any) -> Upload:
        upload = await self.opened(key, lease_s=lease_s, **changes)
        await self.store.uploads.complete(upload.ref, completion(), lease_s)
        return await self.read(upload)

    async def ready(self, key: str = "k", **changes: Any) -> Upload:
        """An upload that only lacks its commit."""
        return await (self.opened if self.whole else self.completing)(key, **changes)

    async def commit(self, upload: Upload, **changes: Any) -> Upload:
        if upload.state is UploadState.OPEN:
            return await self.store.uploads.commit_whole(
                upload, completion(), deadline_s=DEADLINE_S
            )
        return await self.store.uploads.commit(upload.ref, deadline_s=DEADLINE_S, **changes)

    async def put(self, key: str = "k", **changes: Any) -> Version:
        return (await self.commit(await self.completing(key, **changes))).version()

    async def put_with_leftover(self, key: str = "k") -> Upload:
        upload = await self.opened(key)
        await self.store.uploads.switch_key(upload.ref, new_blob_key(TENANT))
        await self.store.uploads.complete(upload.ref, completion(), 60)
        return await self.commit(await self.read(upload))

    async def undoing(self, key: str = "k", *, lease_s: float = 60) -> Upload:
        return await self.store.uploads.begin_undo((await self.opened(key)).ref, lease_s)

    async def undone(self, key: str = "k", *, look_again_s: float = 60) -> Upload:
        upload = await self.undoing(key)
        await self.store.uploads.finish_undo(upload.ref, look_again_s)
        return await self.read(upload)

    async def in_state(self, state: UploadState) -> Upload:
        match state:
            case UploadState.OPEN:
                return await self.opened()
            case UploadState.COMPLETING:
                return await self.completing()
            case UploadState.COMMITTED:
                return await self.commit(await self.completing())
            case UploadState.UNDOING:
                return await self.undoing()
            case UploadState.UNDONE:
                return await self.undone()
        raise AssertionError(state)

    async def read(self, upload: Upload) -> Upload:
        found = await self.store.uploads.get(upload.ref.id)
        assert found is not None
        return found

    async def latest(self, key: str = "k") -> Version | None:
        return await self.store.versions.get_latest(*self.place, key)

    async def delete(self, key: str = "k", preconditions: Preconditions | None = None) -> Any:
        return await self.store.versions.delete(
            *self.place, key, preconditions or Preconditions(), deadline_s=DEADLINE_S
        )

    async def keys(self, prefix: str = "", start: str = "", **changes: Any) -> list[str]:
        values: dict[str, Any] = {"inclusive": True, "limit": 1000}
        found = await self.store.versions.scan(
            *self.place, prefix=prefix, start=start, **(values | changes)
        )
        return [version.key for version in found]


def dead(version: Version) -> Version:
    return replace(version, latest=False)


def fresh_key() -> BlobKey:
    return new_blob_key(TENANT)
