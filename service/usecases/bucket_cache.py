"""Buckets by name, believed for up to a second, so that a GET costs one read of the database.

What keeps reads linearizable though a cached bucket may be gone: a bucket that is deleted is empty
and its id is never used again, so a version found under a cached id is a right answer. A miss is
none: it is believed only once the name still stands for the same bucket (`fresh`). A bucket that is
not there is never cached. Its settings may be a second old, except that this process sees its own
changes at once (`forget`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.stores.ports import BucketStore

_BELIEVED_S = 1.0
_MOST = 10_000


class BucketCache:
    def __init__(
        self, buckets: BucketStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._buckets = buckets
        self._clock = clock
        self._known: dict[tuple[TenantId, str], tuple[float, Bucket]] = {}
        self._forgotten = 0

    async def get(self, tenant: TenantId, name: str) -> Bucket | None:
        """As it was at most a second ago; None where there is none now."""
        return self.known(tenant, name) or await self.fresh(tenant, name)

    def known(self, tenant: TenantId, name: str) -> Bucket | None:
        """Without asking the database; None where nothing is known."""
        until, bucket = self._known.get((tenant, name), (0.0, None))
        return bucket if self._clock() < until else None

    async def fresh(self, tenant: TenantId, name: str) -> Bucket | None:
        """As it is now, and kept."""
        began, forgotten = self._clock(), self._forgotten
        bucket = await self._buckets.get(tenant, name)
        if bucket is None:
            self._known.pop((tenant, name), None)
        elif forgotten == self._forgotten:
            if len(self._known) >= _MOST:
                self._known.clear()
            # Counted from the question, not the answer, which may be late.
            self._known[tenant, name] = (began + _BELIEVED_S, bucket)
        return bucket

    def forget(self, tenant: TenantId, name: str) -> None:
        """To be called once it was changed; what a lookup under way brings back is not kept."""
        self._forgotten += 1
        self._known.pop((tenant, name), None)
