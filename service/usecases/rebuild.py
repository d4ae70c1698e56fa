"""Rebuilding the metadata from the journal, after the database is lost.

Into an empty database only. The merge of all runs gives the last event of each subject, buckets
before API keys before objects, all of one key together; each version's blob is looked at (HEAD)
before it is put back: it must be there, of the size that the journal says, and of its CRC64NVME
where the store keeps one. What cannot be put back is told. Where nothing is left of a key it gets a
tombstone, so that a new object of that name is newer than what the journal says of the old one. At
the end every blob without an entry goes to the auditor's quarantine: blobs of uploads in flight, of
dead versions, and of changes that the journal never got.

A rebuild that is interrupted begins anew, and until it ends no service starts (`Restoring.begin`).
Where a compaction, of a service that should have been stopped, takes an object away in between, it
begins anew by itself. Two rebuilds at once are kept apart by a lease.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog

from service.errors import BlobMissing, Conflict, JournalDamaged, NotFound
from service.model.audit import Stray
from service.model.bucket import Bucket
from service.model.event import Event, EventType
from service.model.ids import BlobKey, BucketId
from service.model.version import DeleteMarker, Entry, Version
from service.protocol.event_json import parse_event
from service.protocol.journal import Line
from service.stores.blob_layout import PREFIX
from service.usecases.digests import CRC64NVME
from service.usecases.journal import Run, list_runs, merge
from service.usecases.key_entries import entries_of_key, same_key
from service.usecases.runtime import Runtime

LEASE, LEASE_S = "rebuild", 120.0
_ATTEMPTS = 5
_BATCH, _AT_ONCE = 200, 16
_SPARE_POSITIONS = 1_000_000
"""Left out after the last known one: what was claimed before the end may not be in any object."""
log = structlog.get_logger()

Tell = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class RebuildReport:
    """What is there again, and what is not; strays went to quarantine."""

    objects: int = 0
    buckets: int = 0
    keys: int = 0
    unplaced: int = 0
    damaged_journal_objects: list[str] = field(default_factory=list)
    strays: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def whole(self) -> bool:
        return not self.unplaced and not self.damaged_journal_objects


async def rebuild(runtime: Runtime, tell: Tell) -> RebuildReport:
    """tell: called with each thing that could not be put back, and why.

    Raises Conflict where the database is not empty, NotFound where there is no journal.
    """
    owner = secrets.token_hex(8)
    try:
        for _ in range(_ATTEMPTS):
            attempt = _Rebuild(runtime, owner, tell)
            try:
                return await attempt.run()
            except BlobMissing:
                log.warning("journal_changed", hint="stop every service during a rebuild")
        raise Conflict("the journal is being compacted by a service: stop it first")
    finally:
        await runtime.metadata.leases.release(LEASE, owner)


class _Rebuild:
    def __init__(self, runtime: Runtime, owner: str, tell: Tell) -> None:
        self._runtime = runtime
        self._owner = owner
        self._tell = tell
        self._report = RebuildReport()
        self._buckets: dict[BucketId, Event] | None = {}
        self._live: set[BucketId] = set()
        self._waiting: list[list[Event]] = []

    async def run(self) -> RebuildReport:
        await self._hold()
        runs = await list_runs(self._runtime)
        if not runs:
            raise NotFound("there is no journal in this S3 bucket")
        await self._runtime.metadata.restoring.begin()
        position = await self._restore(runs)
        await self._quarantine()
        await self._runtime.metadata.restoring.finish(
            epoch=max(run.epoch for run in runs), position=position + _SPARE_POSITIONS
        )
        return self._report

    async def _hold(self) -> None:
        if not await self._runtime.metadata.leases.acquire(LEASE, self._owner, LEASE_S):
            raise Conflict("another rebuild is under way")

    async def _restore(self, runs: list[Run]) -> int:
        """Returns the last position that was seen."""
        position = max(run.position for run in runs)
        async for found in merge(self._runtime, runs, self._damaged):
            position = max(position, found.last.position)
            event = self._parsed(found.last)
            if event is not None:
                await self._take(event)
        await self._settle_buckets()
        await self._flush()
        return position

    def _damaged(self, key: BlobKey, error: JournalDamaged) -> None:
        self._report.damaged_journal_objects.append(key)
        log.error("journal_damaged", key=key, detail=error.detail)

    def _parsed(self, line: Line) -> Event | None:
        try:
            return parse_event(line.raw)
        except (ValueError, KeyError, TypeError) as error:
            self._unplaced({"subject": line.subject, "event": line.id}, repr(error))
            return None

    async def _take(self, event: Event) -> None:
        if isinstance(event.of, Bucket) and self._buckets is not None:
            self._buckets[event.of.id] = event
            return
        await self._settle_buckets()
        if not (self._waiting and same_key(self._waiting[-1][-1], event)):
            if len(self._waiting) >= _BATCH:
                await self._flush()
            self._waiting.append([])
        self._waiting[-1].append(event)

    async def _settle_buckets(self) -> None:
        """Once all are known: of two of one name, the removal of the older one came too late."""
        if self._buckets is None:
            return
        events, self._buckets = self._buckets.values(), None
        named: dict[tuple[str, str], Event] = {}
        for event in sorted(events, key=lambda each: (_bucket(each).created_at, each.id)):
            if event.removes:
                continue
            bucket = _bucket(event)
            earlier = named.get((bucket.tenant, bucket.name))
            if earlier is not None:
                self._unplaced(_named(_bucket(earlier)), "a newer bucket has its name")
            named[bucket.tenant, bucket.name] = event
        self._live = {_bucket(event).id for event in named.values()}
        self._report.buckets = len(named)
        await self._runtime.metadata.restoring.add(list(named.values()))

    async def _flush(self) -> None:
        await self._hold()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def checked(event: Event) -> Event | None:
            async with gate:
                return await self._checked(event)

        groups, self._waiting = self._waiting, []
        placed: list[Event] = []
        for group in groups:
            events = await asyncio.gather(*(checked(event) for event in group))
            placed += entries_of_key([event for event in events if event is not None])
        await self._runtime.metadata.restoring.add(placed)

    async def _checked(self, event: Event) -> Event | None:
        """What to put back: the event, a tombstone instead of it, or nothing."""
        version = event.of
        if not isinstance(version, Version | DeleteMarker):
            self._report.keys += 1
            return event
        if version.bucket_id not in self._live:
            if not event.removes:
                self._unplaced(_facts(version), "its bucket is not known")
            return None
        if event.removes or isinstance(version, DeleteMarker):
            return event
        facts = await self._runtime.blobs.head(version.blob_key)
        problem = None
        if facts is None:
            problem = "its blob is missing"
        elif facts.size_bytes != version.size_bytes:
            problem = f"its blob has {facts.size_bytes} bytes"
        elif facts.crc64nvme not in (None, version.digests.get(CRC64NVME, facts.crc64nvme)):
            problem = "its blob has another CRC64NVME"
        if facts is None or problem:
            self._unplaced(_facts(version), problem)
            return replace(event, type=EventType.OBJECT_DELETED)
        self._report.objects += 1
        if facts.crc64nvme is None:
            return event
        digests = {**version.digests, CRC64NVME: facts.crc64nvme}
        return replace(event, of=replace(version, digests=digests))

    def _unplaced(self, what: dict[str, Any], reason: str | None) -> None:
        self._report.unplaced += 1
        self._tell(what | {"reason": reason})

    async def _quarantine(self) -> None:
        """Note every blob that no version claims; nothing is deleted."""
        audits, limit = self._runtime.metadata.audits, self._runtime.settings.sweep.batch
        after = ""
        while True:
            await self._hold()
            page = await self._runtime.blobs.scan(f"{PREFIX}/", after=after, limit=limit)
            claims = await audits.claims_on([blob.key for blob in page])
            claimed = {claim.blob_key for claim in claims}
            strays = [Stray(blob.key) for blob in page if blob.key not in claimed]
            await audits.quarantine(strays)
            self._report.strays += len(strays)
            if len(page) < limit:
                return
            after = page[-1].key


def _bucket(event: Event) -> Bucket:
    assert isinstance(event.of, Bucket)
    return event.of


def _named(bucket: Bucket) -> dict[str, Any]:
    return {"tenant": bucket.tenant, "bucket": bucket.name, "bucket_id": bucket.id}


def _facts(entry: Entry) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "tenant": entry.tenant,
        "bucket_id": entry.bucket_id,
        "key": entry.key,
        "version": entry.id,
    }
    if isinstance(entry, Version):
        plain |= {"size_bytes": entry.size_bytes, "blob_key": entry.blob_key}
    return plain
