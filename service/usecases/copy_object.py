"""Copies, restores, and moves that are copies: a new version made of another one by the store.

Through the write ledger exactly like an upload (put_object.py), only that the store itself brings
the bytes. So what a crash leaves, and who settles it, is the same. The facts and digests are the
original's. After admission the original is needed for its bytes only; overwritten or deleted
meanwhile, they stay for the grace.

A move out of a bucket that keeps versions puts a delete marker on its source in the transaction
that commits the copy, if the source still is the version that was copied; the intent says so, and
the sweeper, who may have to commit it, does the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import (
    BlobMissing,
    MediagateError,
    ObjectNotFound,
    PreconditionFailed,
    UnsupportedMedia,
)
from service.model.bucket import Bucket
from service.model.ids import TenantId, UploadId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.upload import Idempotency, Intent, MovedFrom, Upload
from service.model.version import ObjectFacts, Version
from service.protocol.media_types import contradicts
from service.stores.blob_layout import new_blob_key
from service.usecases.admission import admit, bucket_named, check_bucket, check_early, replayed
from service.usecases.commit_upload import commit_upload
from service.usecases.leases import kept_lease
from service.usecases.put_object import PutResult, told_again
from service.usecases.runtime import Runtime
from service.usecases.store_copy import store_copy
from service.usecases.undo import undo_quietly


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied: the current version of a key, or the one that is named.

    preconditions: of this side; `if_match` is all that is looked at.
    """

    bucket: str
    key: str
    version: VersionId | None = None
    preconditions: Preconditions = field(default_factory=Preconditions)


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """Names are valid already. preconditions: of the destination. moves: the source goes."""

    tenant: TenantId
    source: Source
    bucket: str
    key: str
    preconditions: Preconditions = field(default_factory=Preconditions)
    idempotency: Idempotency | None = None
    moves: bool = False


async def copy_object(runtime: Runtime, request: CopyRequest) -> PutResult:
    """Make a copy the latest version of the destination's key.

    Raises BucketNotFound, ObjectNotFound, BucketDeleting, PreconditionFailed, TooLarge,
    UnsupportedMedia, RequestInProgress, IdempotencyMismatch, StoreUnavailable and StoreFull;
    nothing is visible then, except that OutcomeUnknown leaves it to the sweeper to find out.
    """
    bucket = await bucket_named(runtime, request.tenant, request.bucket)
    try:
        original = await _original(runtime, request, bucket)
    except MediagateError:
        earlier = await _earlier(runtime, request, bucket)
        if earlier is None:
            raise
        return earlier
    intent = _intent(request, bucket, original)
    upload = await admit(runtime, intent)
    if upload.intent.id != intent.id:
        return told_again(replayed(upload, request.idempotency, bucket))
    committed = await _made(runtime, upload, original)
    return PutResult(committed.version(), created=not committed.replaced)


async def _original(runtime: Runtime, request: CopyRequest, bucket: Bucket) -> Version:
    """What is to be copied, once all that can be refused before was not."""
    original = await find_original(runtime, request.tenant, request.source, current=request.moves)
    limit = runtime.settings.limits.max_object_bytes
    check_destination(bucket, original, limit)
    await check_early(runtime, bucket, request.key, request.preconditions)
    return original


async def find_original(
    runtime: Runtime, tenant: TenantId, source: Source, *, current: bool = False
) -> Version:
    """current: it must be what the key names now, also where a version is named.

    Raises BucketNotFound, ObjectNotFound (deleted, a delete marker), PreconditionFailed.
    """
    bucket = await bucket_named(runtime, tenant, source.bucket)
    versions = runtime.metadata.versions
    if source.version is None or current:
        found = await versions.get_latest(tenant, bucket.id, source.key)
    else:
        found = await versions.get(tenant, bucket.id, source.key, source.version)
    if found is None:
        raise ObjectNotFound(f"there is no such object {source.key!r} in bucket {source.bucket!r}")
    if source.version not in (None, found.id):
        raise PreconditionFailed("the source names another version now", field="source.version")
    source.preconditions.check_write(found)
    return found


def check_destination(bucket: Bucket, original: Version, limit: int) -> None:
    """limit: the service's. Raises BucketDeleting, UnsupportedMedia, TooLarge."""
    limit = min(limit, bucket.settings.max_object_size_bytes or limit)
    check_bucket(bucket, original.facts.content_type, original.size_bytes, limit)
    sniffed, allowed = original.facts.sniffed_type, bucket.settings.allowed_content_types
    if allowed and sniffed and contradicts(sniffed, allowed):
        raise UnsupportedMedia(f"the object looks like {sniffed}: this bucket takes none")


async def _earlier(runtime: Runtime, request: CopyRequest, bucket: Bucket) -> PutResult | None:
    """The answer to the first request of this idempotency key: it holds whatever has changed since,
    the source included. Only an admission can tell whether there was one."""
    if request.idempotency is None:
        return None
    intent = _intent(request, bucket, None)
    upload = await admit(runtime, intent)
    if upload.intent.id != intent.id:
        return told_again(replayed(upload, request.idempotency, bucket))
    await undo_quietly(runtime, upload.ref)
    return None


async def _made(runtime: Runtime, upload: Upload, original: Version) -> Upload:
    lease_s = runtime.settings.uploads.lease_s
    try:
        async with kept_lease(runtime.metadata.uploads, upload.ref, lease_s) as lease:
            stored = await store_copy(runtime, upload, original, lease)
    except BaseException as error:
        runtime.tasks.spawn(undo_quietly(runtime, upload.ref), name="undo")
        if isinstance(error, BlobMissing) and not await _still_there(runtime, original):
            raise ObjectNotFound(f"{original.key!r} was deleted before it was copied") from error
        raise
    return await commit_upload(runtime, upload, stored)


async def _still_there(runtime: Runtime, original: Version) -> bool:
    found = await runtime.metadata.versions.get(
        original.tenant, original.bucket_id, original.key, original.id
    )
    return found is not None


def _intent(request: CopyRequest, bucket: Bucket, original: Version | None) -> Intent:
    moved_from = None
    if request.moves and original is not None:
        moved_from = MovedFrom(original.bucket_id, original.key, original.id)
    return Intent(
        id=UploadId(new_id()),
        version_id=VersionId(new_id()),
        tenant=request.tenant,
        bucket_id=bucket.id,
        key=request.key,
        blob_key=new_blob_key(request.tenant),
        facts=original.facts if original else ObjectFacts(),
        preconditions=request.preconditions,
        declared_size_bytes=original.size_bytes if original else None,
        idempotency=request.idempotency,
        moved_from=moved_from,
    )
