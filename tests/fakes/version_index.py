"""The version index in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from service.errors import Conflict
from service.model.event import EventType
from service.model.ids import BucketId, TenantId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.search import Found, Position, Sort, Wanted
from service.model.version import Version
from tests.fakes import search
from tests.fakes.clock import Clock
from tests.fakes.replica import (
    Event,
    Place,
    Replica,
    Tables,
    Tombstone,
    current_seq,
    latest_in,
    latest_of,
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

    async def delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Version | None:
        change = new_id()

        def landed(tables: Tables) -> Version | None:
            event = next((event for event in tables.events if event.id == change), None)
            return tables.versions[event.version] if event else None

        apply = self._prepared((tenant, bucket, key), preconditions, change)
        return self._replica.commit(apply, landed)

    def prepare_delete(
        self,
        tenant: TenantId,
        bucket: BucketId,
        key: str,
        preconditions: Preconditions,
        *,
        deadline_s: float,
    ) -> Callable[[], Version | None]:
        """The transaction up to its commit, which is returned.

        The commit raises Conflict where another transaction changed the key first.
        """
        return self._prepared((tenant, bucket, key), preconditions, new_id())

    def _prepared(
        self, place: Place, preconditions: Preconditions, change: str
    ) -> Callable[[], Version | None]:
        latest = latest_of(self._replica.writable(), place)
        preconditions.check_write(latest)

        def apply() -> Version | None:
            tables = self._replica.writable()
            if latest is None:
                return None
            if tables.versions.get(latest.id) is not latest:
                raise Conflict("another transaction came first")
            seq = max(latest.last_seq + 1, self._clock.milliseconds())
            self.kill(tables, latest)
            tables.tombstones[place] = Tombstone(seq, self._clock.now)
            _, bucket, key = place
            tables.events.append(Event("object.deleted", key, seq, change, bucket, latest.id))
            tables.announce(change, EventType.OBJECT_DELETED, seq, self._clock.now, latest)
            return latest

        return apply

    async def has_content(self, tenant: TenantId, bucket: BucketId) -> bool:
        return bool(latest_in(self._replica.majority, tenant, bucket))

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

    def add(self, tables: Tables, version: Version, event: str) -> None:
        """Make a version the latest; part of a commit."""
        bucket, key = version.bucket_id, version.key
        tables.versions[version.id] = version
        tables.tombstones.pop((version.tenant, bucket, key), None)
        tables.events.append(Event("object.created", key, version.seq, event, bucket, version.id))
        tables.announce(event, EventType.OBJECT_CREATED, version.seq, version.created_at, version)

    def kill(self, tables: Tables, version: Version) -> None:
        """End a version; part of a commit or of a deletion."""
        tables.versions[version.id] = replace(version, latest=False)
        tables.dead_since[version.id] = self._clock.now
