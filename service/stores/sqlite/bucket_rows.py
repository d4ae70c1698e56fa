"""What the transactions of objects ask of their bucket.

Nobody else writes while a transaction runs, so what is read here still holds when it commits.
"""

from __future__ import annotations

from service.errors import BucketDeleting, BucketNotFound
from service.model.bucket import Bucket, BucketState
from service.model.ids import BucketId, TenantId
from service.stores.sqlite.driver import Db
from service.stores.sqlite.rows import bucket_out
from service.stores.sqlite.statements import one

BY_ID = "SELECT * FROM buckets WHERE id = ? AND tenant = ?"


def bucket_of(db: Db, tenant: TenantId, bucket: BucketId) -> Bucket:
    """Raises BucketNotFound."""
    found = one(db, BY_ID, bucket, tenant)
    if found is None:
        raise BucketNotFound
    return bucket_out(found)


def require_active(bucket: Bucket) -> None:
    """Raises BucketDeleting."""
    if bucket.state is not BucketState.ACTIVE:
        raise BucketDeleting


def next_seq(last_seq: int, at_ms: int) -> int:
    """Greater than all before it."""
    return max(last_seq + 1, at_ms)
