"""PUT of a bucket."""

from __future__ import annotations

from service.errors import BucketExists
from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.ids import TenantId
from service.usecases.deliveries import check_delivery
from service.usecases.runtime import Runtime


async def create_bucket(
    runtime: Runtime, tenant: TenantId, name: str, settings: BucketSettings
) -> tuple[Bucket, bool]:
    """Returns the bucket and whether it was made now.

    One that is there already with these very settings is what was asked for; any other raises
    BucketExists. Conflict: this installation cannot deliver that way. name: valid.
    """
    check_delivery(runtime, settings.delivery)
    buckets = runtime.metadata.buckets
    try:
        return await buckets.create(tenant, name, settings), True
    except BucketExists:
        found = await buckets.get(tenant, name)
        if found is None or found.state is not BucketState.ACTIVE or found.settings != settings:
            raise
        return found, False
    finally:
        runtime.bucket_cache.forget(tenant, name)
