"""DELETE of a bucket, in steps that a crash may interrupt anywhere.

Looked at first: a bucket with content is refused and nothing is harmed. `deleting` then refuses new
uploads. An upload admitted before may still commit, so each is fenced by winning `undoing`, which
conflicts with its commit; one admitted later reads `deleting` inside its commit. After that nothing
can appear any more: emptiness is proved and the bucket removed, or the deletion is reverted. A
crash leaves `deleting`, and a repeated DELETE goes on from there. The deletion's nonce keeps what
one of them proved from being used by another, after a revert in between.
"""

from __future__ import annotations

from service.errors import BucketDeleting, BucketNotEmpty, BucketNotFound
from service.model.bucket import Bucket, BucketState
from service.model.ids import TenantId
from service.usecases.runtime import Runtime
from service.usecases.undo import cut_off

_BATCH = 100


async def delete_bucket(runtime: Runtime, tenant: TenantId, name: str) -> None:
    """Goes on to its end when the caller is cancelled.

    Raises BucketNotFound, BucketNotEmpty, BucketDeleting (another deletion was reverted meanwhile),
    StoreUnavailable (then: ask again).
    """
    await runtime.tasks.outlive(_delete(runtime, tenant, name), name="delete_bucket")


async def _delete(runtime: Runtime, tenant: TenantId, name: str) -> None:
    buckets = runtime.metadata.buckets
    bucket = await buckets.get(tenant, name)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {name!r}")
    if bucket.state is BucketState.ACTIVE and await _has_content(runtime, bucket):
        raise _not_empty(bucket)
    try:
        await _delete_empty(runtime, bucket)
    finally:
        runtime.bucket_cache.forget(tenant, name)


async def _delete_empty(runtime: Runtime, bucket: Bucket) -> None:
    buckets, tenant = runtime.metadata.buckets, bucket.tenant
    nonce = await buckets.begin_delete(tenant, bucket.id)
    runtime.bucket_cache.forget(tenant, bucket.name)
    await _fence_uploads(runtime, bucket)
    if await _has_content(runtime, bucket):
        await buckets.revert_delete(tenant, bucket.id, nonce)
        raise _not_empty(bucket)
    if not await buckets.remove(tenant, bucket.id, nonce):
        still = await buckets.get(tenant, bucket.name)
        if still is not None and still.id == bucket.id:
            raise BucketDeleting(f"another deletion of {bucket.name!r} came in between")


async def _has_content(runtime: Runtime, bucket: Bucket) -> bool:
    return await runtime.metadata.versions.has_content(bucket.tenant, bucket.id)


def _not_empty(bucket: Bucket) -> BucketNotEmpty:
    return BucketNotEmpty(f"bucket {bucket.name!r} still holds objects")


async def _fence_uploads(runtime: Runtime, bucket: Bucket) -> None:
    """Win `undoing` from every upload that could still commit.

    Their keys are removed beside the request; what fails there the sweeper does.
    """
    ledger = runtime.metadata.uploads
    while uploads := await ledger.undoable_in(bucket.tenant, bucket.id, limit=_BATCH):
        for upload in uploads:
            await cut_off(runtime, upload.ref.id)
