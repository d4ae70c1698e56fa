"""Letting a write in: what can be refused before its bytes, and its entry in the ledger."""

from __future__ import annotations

import secrets

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    Fenced,
    IdempotencyMismatch,
    RequestInProgress,
    TooLarge,
    UnsupportedMedia,
)
from service.model.bucket import Bucket, BucketState
from service.model.ids import BucketId, TenantId
from service.model.preconditions import Preconditions
from service.model.upload import Idempotency, Intent, Upload, UploadRef, UploadState
from service.protocol.media_types import matches_any
from service.usecases.runtime import Runtime
from service.usecases.undo import undo_quietly


async def bucket_named(runtime: Runtime, tenant: TenantId, name: str) -> Bucket:
    """Raises BucketNotFound."""
    bucket = await runtime.metadata.buckets.get(tenant, name)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {name!r}")
    return bucket


def check_bucket(bucket: Bucket, content_type: str, size_bytes: int | None, limit: int) -> None:
    """size_bytes: None for an unknown length. Raises BucketDeleting, UnsupportedMedia, TooLarge."""
    if bucket.state is BucketState.DELETING:
        raise BucketDeleting(f"bucket {bucket.name!r} is being deleted")
    allowed = bucket.settings.allowed_content_types
    if allowed and not matches_any(content_type, allowed):
        raise UnsupportedMedia(
            f"bucket {bucket.name!r} does not take {content_type}",
            allowed_content_types=list(allowed),
        )
    if size_bytes is not None:
        check_size(size_bytes, limit)


def check_size(size_bytes: int, limit: int) -> None:
    """Raises TooLarge."""
    if size_bytes > limit:
        raise TooLarge(f"{size_bytes} bytes are more than the {limit} allowed", limit_bytes=limit)


def size_limit(runtime: Runtime, bucket: Bucket | None) -> int:
    """In bytes: the service's, and the bucket's."""
    most = runtime.settings.limits.max_object_bytes
    own = bucket.settings.max_object_size_bytes if bucket else None
    return min(most, own or most)


async def check_early(
    runtime: Runtime, bucket: Bucket, key: str, preconditions: Preconditions
) -> None:
    """To spare the work of a write that will fail; what counts is the check inside the commit."""
    if preconditions != Preconditions():
        latest = await runtime.metadata.versions.get_latest(bucket.tenant, bucket.id, key)
        preconditions.check_write(latest)


async def admit(runtime: Runtime, intent: Intent, lease_s: float | None = None) -> Upload:
    """The entry in the ledger, or the earlier one that holds the idempotency key.

    lease_s: `uploads.lease_s` where it is not given.
    """
    owner = secrets.token_hex(8)
    ref = UploadRef(intent.id, 1, owner)
    try:
        upload = await runtime.metadata.uploads.admit(
            intent, owner, lease_s or runtime.settings.uploads.lease_s
        )
    except BaseException:
        # It may stand there although the answer was lost, and would hold the key for a lease.
        runtime.tasks.spawn(undo_quietly(runtime, ref), name="undo")
        raise
    if upload.intent.id == intent.id and upload.ref != ref:
        raise Fenced("the upload was taken over before its first byte")
    return upload


def replayed(earlier: Upload, idempotency: Idempotency | None, bucket: Bucket) -> Upload:
    """What answers a request whose idempotency key an earlier upload holds: its commit.

    A bucket that was made again under the same name is another one.
    Raises IdempotencyMismatch, RequestInProgress.
    """
    check_same(earlier, idempotency, bucket.id)
    if earlier.state is not UploadState.COMMITTED:
        raise RequestInProgress(retry_after_s=1)
    return earlier


def check_same(earlier: Upload, idempotency: Idempotency | None, bucket: BucketId) -> None:
    """Whether an idempotency key is used for the same request again. Raises IdempotencyMismatch."""
    assert idempotency is not None
    assert earlier.intent.idempotency is not None
    same = earlier.intent.idempotency.fingerprint == idempotency.fingerprint
    if not same or earlier.intent.bucket_id != bucket:
        raise IdempotencyMismatch
