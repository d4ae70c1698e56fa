"""GET of one bucket and of the list of them."""

from __future__ import annotations

from service.errors import BucketNotFound
from service.model.api_key import Principal
from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.usecases.runtime import Runtime


async def get_bucket(runtime: Runtime, tenant: TenantId, name: str) -> Bucket:
    """Raises BucketNotFound."""
    bucket = await runtime.metadata.buckets.get(tenant, name)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {name!r}")
    return bucket


async def list_buckets(
    runtime: Runtime, principal: Principal, *, after: str, limit: int
) -> tuple[list[Bucket], str | None]:
    """By name, those that the principal's key reaches; and the name to go on after, if any."""
    buckets = runtime.metadata.buckets
    if principal.buckets:
        names = sorted(name for name in principal.buckets if name > after)
        found = [await buckets.get(principal.tenant, name) for name in names[:limit]]
        return [bucket for bucket in found if bucket], _last(names, limit)
    page = await buckets.list(principal.tenant, after=after, limit=limit + 1)
    return page[:limit], _last([bucket.name for bucket in page], limit)


def _last(names: list[str], limit: int) -> str | None:
    return names[limit - 1] if len(names) > limit else None
