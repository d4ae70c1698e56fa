"""PATCH of a bucket's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.errors import PreconditionFailed
from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.model.preconditions import EntityTags
from service.usecases.deliveries import check_delivery
from service.usecases.read_buckets import get_bucket
from service.usecases.runtime import Runtime

_ATTEMPTS = 5


async def update_bucket(
    runtime: Runtime,
    tenant: TenantId,
    name: str,
    changes: Mapping[str, Any],
    if_match: EntityTags | None,
) -> Bucket:
    """Change the settings named in `changes` (fields of BucketSettings) and leave the rest.

    Without `if_match` a change made by somebody else meanwhile is kept and this one put on top.
    Raises BucketNotFound, BucketDeleting, PreconditionFailed, Conflict (a delivery that this
    installation does not have).
    """
    if "delivery" in changes:
        check_delivery(runtime, changes["delivery"])
    for attempt in range(1, _ATTEMPTS + 1):
        bucket = await get_bucket(runtime, tenant, name)
        if if_match is not None and not if_match.match_strongly(bucket.etag):
            raise PreconditionFailed("If-Match does not hold", condition="if-match")
        settings = replace(bucket.settings, **changes)
        if settings == bucket.settings:
            return bucket
        try:
            return await runtime.metadata.buckets.update(
                tenant, bucket.id, settings, revision=bucket.revision
            )
        except PreconditionFailed:
            if if_match is not None or attempt == _ATTEMPTS:
                raise
        finally:
            runtime.bucket_cache.forget(tenant, name)
    raise AssertionError("unreachable")
