"""The port of committed names; `stores/ports.py` names it too, and says what holds for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.upload import MovedFrom
from service.model.version import Entry, HandedOver, ObjectFacts, Version

FactsChange = Callable[[ObjectFacts], ObjectFacts]
"""Pure: a conflict calls it again. What it raises ends the transaction, and passes through."""


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

    async def history(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        *,
        before_seq: int | None,
        limit: int,
    ) -> list[Entry]:
        """Versions and delete markers of a key that count, the youngest first, `seq` < before_seq.

        Versions that were overwritten where none are kept do not count.
        """

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        """Let the key name nothing any more, in one transaction with the events.

        Where the bucket keeps versions, the latest stays and a delete marker comes before it, which
        is returned; else the latest is dead, and a tombstone stands in its place (a marker, where
        others were kept at an earlier time), and it is returned. None, and nothing changes, where
        the key named nothing. The preconditions are evaluated inside. A conflict runs it again
        until the deadline.
        Raises PreconditionFailed, BucketNotFound, BucketDeleting (only where a marker is wanted),
        StoreUnavailable, OutcomeUnknown.
        """

    async def delete_version(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        """End one version, or take one delete marker away, for good; returned as it was.

        Was it the latest, then the youngest of the others is, or the key names nothing and a
        tombstone is left. The preconditions are about this version; for a marker there is no
        current representation. None where there is no such version, or it is dead.
        Raises as `delete`.
        """

    async def change_facts(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        change: FactsChange,
        *,
        deadline_s: float,
    ) -> Version | None:
        """Give the version that the key names other facts, in one transaction with the event.

        The preconditions are evaluated inside, against the entity tag of the metadata. Returns the
        version as it is then: with a new revision, or untouched where `change` changed nothing.
        None where the key names nothing.
        Raises PreconditionFailed, StoreUnavailable, OutcomeUnknown, and what `change` raises.
        """

    async def hand_over(
        self,
        tenant: TenantId,
        source: MovedFrom,
        bucket: BucketId,
        key: str,
        new_version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> HandedOver | None:
        """Move a version to another key, in one transaction with the events: its blob and facts go
        over to a new version there, which is the latest, and the source names nothing any more.

        None, and nothing changes, where the source does not name that version now, or its bucket
        keeps versions. bucket, key: another place than the source's. The preconditions are about
        what is there, and are evaluated inside. What was there dies or is kept, as by a commit. A
        conflict runs it again until the deadline.
        Raises PreconditionFailed, BucketNotFound, BucketDeleting (of either bucket),
        StoreUnavailable, OutcomeUnknown.
        """

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        """Whether any version or delete marker counts; dead ones and tombstones do not."""

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        """Versions of any tenant that have been dead for that long."""

    async def forget_dead(self, version: VersionId) -> None:
        """Drop the document of a dead version whose blob is gone."""

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        """Drop old tombstones of keys, of any tenant; returns how many."""
