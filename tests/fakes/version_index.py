"""The version index in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from service.model.bucket import Bucket
from service.model.event import EventType
from service.model.ids import BucketId, TenantId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.upload import MovedFrom
from service.model.version import DeleteMarker, Entry, HandedOver, Version
from service.stores.version_port import FactsChange
from tests.fakes import search
from tests.fakes.clock import Clock
from tests.fakes.deletions import FakeDeletion, kill
from tests.fakes.handover import FakeHandOver
from tests.fakes.metadata_changes import FakeMetadataChange
from tests.fakes.replica import (
    Event,
    Place,
    Replica,
    Tables,
    current_of,
    current_seq,
    entries_of,
    latest_in,
    latest_of,
    put_entry,
)


class FakeVersionIndex:
    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica

    @property
    def versions(self) -> dict[VersionId, Version]:
        return self._replica.local.versions

    @property
    def dead_since(self) -> dict[VersionId, datetime]:
        return self._replica.local.dead_since

    async def get_latest(self, tenant: TenantId, bucket: BucketId, key: str) -> Version | None:
        return latest_of(self._replica.majority, (tenant, bucket, key))

    async def get(
        self, tenant: TenantId, bucket: BucketId, key: str, version: VersionId
    ) -> Version | None:
        tables = self._replica.majority
        found = tables.versions.get(version)
        if found is None or version in tables.dead_since:
            return None
        return (
            found if (found.tenant, found.bucket_id, found.key) == (tenant, bucket, key) else None
        )

    async def current_seq(self, tenant: TenantId, bucket: BucketId, key: str) -> int:
        return current_seq(self._replica.majority, (tenant, bucket, key))

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
        def after(key: str) -> bool:
            one, other = key.encode(), start.encode()
            return one >= other if inclusive else one > other

        found = [
            v
            for v in latest_in(self._replica.majority, tenant, bucket)
            if v.key.startswith(prefix) and after(v.key)
        ]
        return sorted(found, key=lambda v: v.key.encode())[:limit]

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
        entries = latest_in(self._replica.majority, tenant, bucket)
        return search.run(entries, wanted, sort, after, limit, max_examined)

    async def history(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        *,
        before_seq: int | None,
        limit: int,
    ) -> list[Entry]:
        found = entries_of(self._replica.majority, (tenant, bucket, key))
        return [e for e in found if before_seq is None or e.seq < before_seq][:limit]

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Entry | None:
        deletion = self._deletion((tenant, bucket, key), preconditions)
        return self._replica.commit(deletion.prepare(), deletion.landed)

    def prepare_delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Callable[[], Entry | None]:
        """The transaction up to its commit, which is returned.

        The commit raises Conflict where another transaction changed the key first.
        """
        return self._deletion((tenant, bucket, key), preconditions).prepare()

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
        deletion = self._deletion((tenant, bucket, key), preconditions, version)
        return self._replica.commit(deletion.prepare(), deletion.landed)

    def prepare_delete_version(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Callable[[], Entry | None]:
        """As `prepare_delete`."""
        return self._deletion((tenant, bucket, key), preconditions, version).prepare()

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
        changing = self._change((tenant, bucket, key), preconditions, change)
        return self._replica.commit(changing.prepare(), changing.landed)

    def prepare_change_facts(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        change: FactsChange,
        *,
        deadline_s: float,
    ) -> Callable[[], Version | None]:
        """As `prepare_delete`."""
        return self._change((tenant, bucket, key), preconditions, change).prepare()

    def _change(
        self, place: Place, preconditions: Preconditions, change: FactsChange
    ) -> FakeMetadataChange:
        return FakeMetadataChange(self._clock, self._replica, place, preconditions, change)

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
        move = self._handover(tenant, source, bucket, key, new_version, preconditions)
        return self._replica.commit(move.prepare(), move.landed)

    def prepare_hand_over(
        self,
        tenant: TenantId,
        source: MovedFrom,
        bucket: BucketId,
        key: str,
        new_version: VersionId,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Callable[[], HandedOver | None]:
        """As `prepare_delete`."""
        return self._handover(tenant, source, bucket, key, new_version, preconditions).prepare()

    def _handover(
        self,
        tenant: TenantId,
        source: MovedFrom,
        bucket: BucketId,
        key: str,
        new_version: VersionId,
        preconditions: Preconditions,
    ) -> FakeHandOver:
        place = (tenant, bucket, key)
        return FakeHandOver(
            self._clock, self._replica, source, place, new_version, preconditions, self.put
        )

    def _deletion(
        self, place: Place, preconditions: Preconditions, version: VersionId | None = None
    ) -> FakeDeletion:
        return FakeDeletion(self._clock, self._replica, place, preconditions, version)

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        tables = self._replica.majority
        found = [*tables.versions.values(), *tables.markers.values()]
        return any(
            (e.tenant, e.bucket_id) == (tenant, bucket) and e.id not in tables.dead_since
            for e in found
        )

    async def dead(self, *, older_than_s: float, limit: int) -> list[Version]:
        before = self._clock.now - timedelta(seconds=older_than_s)
        tables = self._replica.majority
        found = [tables.versions[name] for name, at in tables.dead_since.items() if at <= before]
        return found[:limit]

    async def forget_dead(self, version: VersionId) -> None:
        tables = self._replica.writable()
        if tables.dead_since.pop(version, None) is not None:
            del tables.versions[version]

    async def forget_tombstones(self, *, older_than_s: float, limit: int) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        tombstones = self._replica.writable().tombstones
        old = [name for name, stone in tombstones.items() if stone.at <= before][:limit]
        for name in old:
            del tombstones[name]
        return len(old)

    def put(self, tables: Tables, version: Version, event: str, bucket: Bucket) -> Version:
        """Make a version what its key names, and end what was there; part of a transaction."""
        placed = replace(version, own_subject=bucket.has_kept)
        current = current_of(tables, (version.tenant, version.bucket_id, version.key))
        if isinstance(current, Version | DeleteMarker):
            changed_seq = self.end(tables, current, bucket, version.seq)
            placed = replace(placed, changed_seq=changed_seq)
        self.add(tables, placed, event)
        return placed

    def add(self, tables: Tables, version: Version, event: str) -> None:
        """Make a version the latest; part of a commit."""
        bucket, key = version.bucket_id, version.key
        tables.versions[version.id] = version
        tables.tombstones.pop((version.tenant, bucket, key), None)
        tables.events.append(Event("object.created", key, version.seq, event, bucket, version.id))
        tables.announce(event, EventType.OBJECT_CREATED, version.seq, version.created_at, version)

    def end(self, tables: Tables, current: Entry, bucket: Bucket, seq: int) -> int:
        """What the key named dies, or steps back where versions are kept; part of a commit.

        seq: of the commit. Returns that of the event which the end needs, 0 where it needs none.
        """
        if isinstance(current, DeleteMarker) or bucket.settings.versioning:
            put_entry(tables, replace(current, latest=False, changed_seq=0))
            return 0
        kill(tables, current, self._clock.now)
        if not bucket.has_kept:
            return 0
        tables.announce(new_id(), EventType.OBJECT_DELETED, seq + 1, self._clock.now, current)
        return seq + 1
