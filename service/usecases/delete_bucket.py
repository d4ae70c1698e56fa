"""DELETE of a bucket, in steps that a crash may interrupt anywhere.

Looked at first: a bucket with content is refused and nothing is harmed. `deleting` then refuses new
uploads. An upload admitted before may still commit, so each is fenced by winning `undoing`, which
conflicts with its commit; one admitted later reads `deleting` inside its commit. After that nothing
can appear any more: emptiness is proved and the bucket removed, or the deletion is reverted. A
crash leaves `deleting`, and a repeated DELETE goes on from there.
"""

from __future__ import annotations

import secrets

from service.errors import BucketNotEmpty, BucketNotFound
from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.model.upload import Upload, UploadState
from service.usecases.runtime import Runtime
from service.usecases.undo import clear

_BATCH = 100


async def delete_bucket(runtime: Runtime, tenant: TenantId, name: str) -> None:
    """Raises BucketNotFound, BucketNotEmpty, StoreUnavailable (then: ask again)."""
    buckets = runtime.metadata.buckets
    bucket = await buckets.get(tenant, name)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {name!r}")
    await _refuse_content(runtime, bucket, deleting=False)
    await buckets.begin_delete(tenant, bucket.id)
    await _fence_uploads(runtime, bucket)
    await _refuse_content(runtime, bucket, deleting=True)
    await buckets.remove(tenant, bucket.id)


async def _refuse_content(runtime: Runtime, bucket: Bucket, *, deleting: bool) -> None:
    if not await runtime.metadata.versions.has_content(bucket.tenant, bucket.id):
        return
    if deleting:
        await runtime.metadata.buckets.revert_delete(bucket.tenant, bucket.id)
    raise BucketNotEmpty(f"bucket {bucket.name!r} still holds objects")


async def _fence_uploads(runtime: Runtime, bucket: Bucket) -> None:
    """End every unfinished upload; what is `undoing` already cannot commit and may go on."""
    ledger, lease_s = runtime.metadata.uploads, runtime.settings.uploads.lease_s
    while True:
        found = await ledger.unfinished_in(bucket.tenant, bucket.id, limit=_BATCH)
        committing = [upload for upload in found if upload.state is not UploadState.UNDOING]
        for upload in committing:
            fenced = await ledger.fence(upload.ref.id, secrets.token_hex(8), lease_s)
            if fenced is not None:
                await _clear_later(runtime, fenced)
        if not committing:
            return


async def _clear_later(runtime: Runtime, fenced: Upload) -> None:
    """The keys are removed beside the request; what fails there the sweeper does."""
    runtime.tasks.spawn(clear(runtime, fenced), name="undo")
