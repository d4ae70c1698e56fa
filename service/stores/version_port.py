"""The port of committed names; `stores/ports.py` names it too, and says what holds for all."""

from __future__ import annotations

from typing import Protocol

from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.version import Version


class VersionIndex(Protocol):
    """Committed names and facts. Every method is limited to one tenant's bucket."""

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None: ...

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        """A version that still counts; a dead one is None."""

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        """`seq` of the key's last change, deletes included; 0 where nothing is known."""

    async def scan(
        self,
        tenant: TenantId,
        bucket: BucketId,
        *,
        prefix: str,
        start: str,
        inclusive: bool,
        limit: int,
    ) -> list[Version]:
        """Latest versions with the prefix, keys >= start (or > start), by key in UTF-8 order.

        start: "" for the beginning.
        """

    async def search(
        self,
        tenant: TenantId,
        bucket: BucketId,
        wanted: Wanted,
        sort: Sort,
        *,
        after: Position | None,
        limit: int,
        max_examined: int,
    ) -> Found:
        """Latest versions that fulfil all of it, in the order, from behind `after` on.

        Up to `limit` of them; fewer, even none, with a place to resume at, where `max_examined`
        entries were looked at. Each step gets ahead. What is there all the time is met once.
        """

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Version | None:
        """Make the latest version dead and leave a tombstone, in one transaction with its event.

        Returns what was deleted, None where the key named nothing. The preconditions are
        evaluated inside. A conflict runs it again until the deadline.
        Raises PreconditionFailed, StoreUnavailable, OutcomeUnknown.
        """

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        """Whether any version counts; dead ones and tombstones do not."""

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        """Versions of any tenant that have been dead for that long."""

    async def forget_dead(self, version: VersionId) -> None:
        """Drop the document of a dead version whose blob is gone."""

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        """Drop old tombstones of keys, of any tenant; returns how many."""
