"""DELETE: the name goes in one transaction; the bytes go after the grace, without readers."""

from __future__ import annotations

from service.errors import BucketNotFound, PreconditionFailed
from service.model.ids import TenantId, VersionId
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.version import Version
from service.usecases.runtime import Runtime


async def delete_object(
    runtime: Runtime,
    tenant: TenantId,
    bucket: str,
    key: str,
    preconditions: Preconditions,
    version: VersionId | None = None,
) -> Version | None:
    """Delete the latest version; idempotent: None where there was nothing to delete.

    version: deletes only while that one is the latest.
    Raises BucketNotFound, PreconditionFailed, StoreUnavailable, OutcomeUnknown.
    """
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    versions = runtime.metadata.versions
    deadline_s = runtime.settings.metadata.commit_timeout_s
    if version is None:
        return await versions.delete(tenant, found.id, key, preconditions, deadline_s=deadline_s)
    latest = await versions.get_latest(tenant, found.id, key)
    if latest is None or latest.id != version:
        return None
    preconditions.check_write(latest)
    only_it = Preconditions(if_match=EntityTags((EntityTag(latest.etag),)))
    try:
        return await versions.delete(tenant, found.id, key, only_it, deadline_s=deadline_s)
    except PreconditionFailed:
        return None  # another version came in between: the named one is not the latest any more
