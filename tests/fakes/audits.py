"""What the auditor and the scrubber ask of the metadata, in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from service.model.audit import Claim, Progress, Stray
from service.model.event import EventType
from service.model.ids import BlobKey, VersionId, new_id
from service.model.upload import Upload, UploadState
from service.model.version import Version
from tests.fakes.clock import Clock
from tests.fakes.replica import (
    Event,
    Place,
    Replica,
    Tables,
    Tombstone,
    current_of,
    current_seq,
    put_entry,
)


class FakeAuditStore:
    """strays: when each was first found and last seen."""

    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica
        self.strays: dict[Stray, tuple[datetime, datetime]] = {}
        self._progress: dict[str, Progress] = {}

    async def claims(self, *, after: str, limit: int) -> list[Claim]:
        found = [
            v
            for v in self._replica.majority.versions.values()
            if v.blob_key.encode() > after.encode()
        ]
        ordered = sorted(found, key=lambda v: v.blob_key.encode())
        return [self._claim(version) for version in ordered[:limit]]

    async def claims_on(self, keys: Collection[BlobKey]) -> list[Claim]:
        versions = self._replica.majority.versions.values()
        return [self._claim(version) for version in versions if version.blob_key in keys]

    def _claim(self, version: Version) -> Claim:
        return Claim(
            version=version.id,
            tenant=version.tenant,
            bucket_id=version.bucket_id,
            key=version.key,
            blob_key=version.blob_key,
            size_bytes=version.size_bytes,
            crc64nvme=version.digests["crc64nvme"],
            created_at=version.created_at,
            dead=version.id in self._replica.majority.dead_since,
            damaged=version.damaged_at is not None,
        )

    async def owed(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        uploads = self._replica.majority.uploads.values()
        return {key for upload in uploads for key in _owed_by(upload)} & set(keys)

    async def mark_damaged(self, version: VersionId, *, damaged: bool) -> bool:
        tables = self._replica.writable()
        found = tables.versions.get(version)
        if found is None or version in tables.dead_since:
            return False
        if (found.damaged_at is not None) is damaged:
            return False
        seq = self._touch_key(tables, (found.tenant, found.bucket_id, found.key))
        marked = replace(
            tables.versions[version],
            damaged_at=self._clock.now if damaged else None,
            revision=found.revision + 1,
        )
        tables.versions[version] = marked
        kind = EventType.OBJECT_DAMAGED if damaged else EventType.OBJECT_REPAIRED
        change = new_id()
        tables.events.append(Event(kind, found.key, seq, change, found.bucket_id, version))
        tables.announce(change, kind, seq, self._clock.now, marked)
        return True

    def _touch_key(self, tables: Tables, place: Place) -> int:
        seq = max(current_seq(tables, place) + 1, self._clock.milliseconds())
        current = current_of(tables, place)
        if isinstance(current, Tombstone):
            tables.tombstones[place] = replace(current, seq=seq)
        elif current is not None:
            put_entry(tables, replace(current, changed_seq=seq))
        return seq

    async def quarantine(self, strays: Collection[Stray]) -> None:
        now = self._clock.now
        for stray in strays:
            self.strays[stray] = (self.strays.get(stray, (now, now))[0], now)

    async def quarantined(self, *, found_before_s: float, limit: int) -> list[Stray]:
        before = self._clock.now - timedelta(seconds=found_before_s)
        found = [(at, stray) for stray, (at, _) in self.strays.items() if at <= before]
        return [stray for _, stray in sorted(found, key=lambda each: each[0])][:limit]

    async def release(self, strays: Collection[Stray]) -> None:
        for stray in strays:
            self.strays.pop(stray, None)

    async def release_unseen(self, since: datetime) -> int:
        unseen = [stray for stray, (_, seen) in self.strays.items() if seen < since]
        await self.release(unseen)
        return len(unseen)

    async def progress(self, worker: str) -> Progress:
        return self._progress.get(worker, Progress())

    async def save_progress(self, worker: str, progress: Progress) -> None:
        self._progress[worker] = progress


def _owed_by(upload: Upload) -> list[BlobKey]:
    used = upload.leftovers if upload.state is UploadState.COMMITTED else upload.keys
    return [key.blob_key for key in used]
