"""DELETE: the name goes in one transaction; the bytes go after the grace, without readers."""

from __future__ import annotations

from service.errors import BucketNotFound
from service.model.ids import TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.version import Entry
from service.usecases.runtime import Runtime


async def delete_object(
    runtime: Runtime,
    tenant: TenantId,
    bucket: str,
    key: str,
    preconditions: Preconditions,
    version: VersionId | None = None,
) -> Entry | None:
    """Delete what the key names; idempotent: None where there was nothing to delete.

    version: that one or that delete marker, for good, be it the latest or kept behind it. Returns
    what was deleted; in a bucket that keeps versions, without `version`, the marker that was made.
    Raises BucketNotFound, BucketDeleting, PreconditionFailed, StoreUnavailable, OutcomeUnknown.
    """
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    versions = runtime.metadata.versions
    deadline_s = runtime.settings.metadata.commit_timeout_s
    if version is None:
        return await versions.delete(tenant, found.id, key, preconditions, deadline_s=deadline_s)
    return await versions.delete_version(
        tenant, found.id, key, version, preconditions, deadline_s=deadline_s
    )
