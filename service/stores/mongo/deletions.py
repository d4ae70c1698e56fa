"""What becomes of a key when one of its versions, or its name, is deleted.

Each is one transaction, and every change of anything of a key writes to the key's current entry, so
that two of them never pass each other unseen. Its `seq` is greater than all before it; where the
change leaves an entry that was there the current one, that entry notes it (`changed_seq`).

    bucket that keeps no versions   the version is dead, a tombstone takes its place
    bucket that keeps versions      the version stays, a delete marker hides it
    versioning was switched off     the version is dead; a marker hides those that were kept, if any
    one version, for good           it is dead (a marker is removed); was it the current entry, the
                                    youngest of the others is, or a tombstone where there is none

A transaction that adds a marker has no entry in the ledger, so it writes to the bucket too
(`fence`): the deletion of a bucket, which proves first that it is empty, cannot miss it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pymongo import DESCENDING, ReturnDocument

from service.errors import BucketDeleting, BucketNotFound
from service.model.bucket import BucketState
from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.version import DeleteMarker, Entry, Version
from service.stores.mongo.clock import NOW
from service.stores.mongo.documents import (
    MARKER,
    OBJECT,
    TOMBSTONE,
    entry_out,
    last_seq_out,
    marker_in,
    version_out,
)
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.events import event_in
from service.stores.mongo.latest_reads import latest_of

DIE: list[Document] = [
    {"$set": {"latest": False, "dead_since": NOW}},
    {"$unset": ["live", "changed_seq"]},
]
"""An update: from here on only the sweeper wants it."""
STEP_BACK: Document = {"$set": {"latest": False}, "$unset": {"changed_seq": True}}
"""An update: it counts, but is not what the key names any more."""


def keeps_versions(bucket: Document) -> bool:
    return bool(bucket["settings"].get("versioning"))


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of a name, or of one `version` for good: `run` is the body of the transaction.

    hands_over: the name's version goes on elsewhere with its blob, so it leaves no dead one; not
    for a bucket that keeps versions. after_seq: its events get a greater `seq` than that.
    change_id, marker_id: new and unique; what the events are found by when an answer was lost.
    """

    database: Database
    tenant: TenantId
    bucket_id: BucketId
    key: str
    preconditions: Preconditions
    version: VersionId | None = None
    hands_over: bool = False
    after_seq: int = 0
    change_id: str = field(default_factory=new_id)
    marker_id: str = field(default_factory=new_id)

    async def run(self, session: Session) -> Entry | None:
        """Raises PreconditionFailed, BucketNotFound, BucketDeleting."""
        if self.version is not None:
            return await self._remove(self.version, session)
        found = await self._current(session)
        current = version_out(found) if found and found["kind"] == OBJECT else None
        self.preconditions.check_write(current)
        if current is None:
            return None
        bucket = await self._bucket(session)
        if keeps_versions(bucket):
            await self._update({"_id": current.id, "latest": True}, STEP_BACK, session)
            return await self._hide(current.last_seq, session)
        await self._end(current, keeps_others=bucket.get("has_kept", False), session=session)
        return current

    async def landed(self) -> Entry | None:
        ids = [self.change_id, self.marker_id]
        found = await self.database["events"].find({"_id": {"$in": ids}}).to_list(2)
        if not found:
            return None
        event = max(found, key=lambda each: bool(each["_id"] == self.change_id))
        return entry_out(event["version"] if "version" in event else event["marker"])

    async def _end(self, current: Version, *, keeps_others: bool, session: Session) -> None:
        others = keeps_others and await self._youngest_but(current.id, session)
        now = await (self._let_go if self.hands_over else self._kill)(current.id, session)
        if others:
            # First in the journal: where that got only the one of the two, the name is gone.
            marker = await self._hide(current.last_seq, session, then=1)
            seq = marker.changed_seq
        else:
            seq = self._next(current.last_seq, now)
            await self._leave_tombstone(seq, now, session)
        await self._announce(self._deleted(current, seq, now), session)

    async def _remove(self, version: VersionId, session: Session) -> Entry | None:
        wanted = self._place | {"_id": version, "live": True}
        target = await self.database["versions"].find_one(wanted, session=session)
        if target is None:
            return None
        entry = entry_out(target)
        self.preconditions.check_write(entry if isinstance(entry, Version) else None)
        current = await self._current(session)
        is_current = current is not None and current["_id"] == version
        heir = await self._youngest_but(version, session) if is_current else None
        now = await self._kill(version, session)
        seq = self._next(last_seq_out(current) if current else entry.seq, now)
        if heir is not None:
            change: Document = {"$set": {"latest": True, "changed_seq": seq}}
            await self._update({"_id": heir, "live": True}, change, session)
        elif is_current:
            await self._leave_tombstone(seq, now, session)
        elif current is not None:
            change = {"$set": {"changed_seq": seq}}
            await self._update({"_id": current["_id"], "latest": True}, change, session)
        if isinstance(entry, DeleteMarker):
            gone = {"_id": version, "kind": MARKER, "latest": False, "live": None}
            await self.database["versions"].delete_one(gone, session=session)
        await self._announce(self._deleted(entry, seq, now), session)
        return entry

    @property
    def _place(self) -> Document:
        return {"tenant": self.tenant, "bucket_id": self.bucket_id, "key": self.key}

    async def _current(self, session: Session) -> Document | None:
        wanted = latest_of(self.tenant, self.bucket_id, self.key)
        found: Document | None = await self.database["versions"].find_one(wanted, session=session)
        return found

    async def _bucket(self, session: Session) -> Document:
        wanted = {"_id": self.bucket_id, "tenant": self.tenant}
        found: Document | None = await self.database["buckets"].find_one(wanted, session=session)
        if found is None:
            raise BucketNotFound
        return found

    async def _youngest_but(self, version: VersionId, session: Session) -> VersionId | None:
        cursor = self.database["versions"].find(
            self._place | {"live": True},
            {"_id": True},
            sort=[("seq", DESCENDING)],
            limit=2,
            session=session,
        )
        found = [each["_id"] for each in await cursor.to_list(2)]
        return next((each for each in found if each != version), None)

    async def _update(self, wanted: Document, change: Document, session: Session) -> None:
        await self.database["versions"].update_one(wanted, change, session=session)

    async def _kill(self, version: VersionId, session: Session) -> datetime:
        """Returns the database's time, by which the version is dead."""
        dead: Document = await self.database["versions"].find_one_and_update(
            {"_id": version, "live": True},
            DIE,
            projection={"dead_since": True},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        now: datetime = dead["dead_since"]
        return now

    async def _let_go(self, version: VersionId, session: Session) -> datetime:
        gone = {"_id": version, "live": True}
        await self.database["versions"].delete_one(gone, session=session)
        return await enter_bucket(self.database, self.tenant, self.bucket_id, session)

    async def _leave_tombstone(self, seq: int, now: datetime, session: Session) -> None:
        tombstone = {
            "_id": self.change_id,
            "kind": TOMBSTONE,
            "latest": True,
            "seq": seq,
            "dead_since": now,
        }
        await self.database["versions"].insert_one(self._place | tombstone, session=session)

    async def _hide(self, last_seq: int, session: Session, *, then: int = 0) -> DeleteMarker:
        """then: how many more changes of the key the transaction makes."""
        now = await enter_bucket(self.database, self.tenant, self.bucket_id, session)
        seq = self._next(last_seq, now)
        marker = DeleteMarker(
            VersionId(self.marker_id),
            self.tenant,
            self.bucket_id,
            self.key,
            seq,
            now,
            changed_seq=seq + then if then else 0,
        )
        await self.database["versions"].insert_one(marker_in(marker), session=session)
        event = Event(EventId(marker.id), EventType.MARKER_CREATED, marker.seq, now, marker)
        await self._announce(event, session)
        return marker

    def _next(self, last_seq: int, now: datetime) -> int:
        return next_seq(max(last_seq, self.after_seq), now)

    def _deleted(self, entry: Entry, seq: int, now: datetime) -> Event:
        return Event(EventId(self.change_id), EventType.OBJECT_DELETED, seq, now, entry)

    async def _announce(self, event: Event, session: Session) -> None:
        await self.database["events"].insert_one(event_in(event), session=session)


async def enter_bucket(
    database: Database, tenant: TenantId, bucket: BucketId, session: Session
) -> datetime:
    """Conflict with a deletion of the bucket; returns the database's time.

    Raises BucketDeleting, also where the bucket is gone.
    """
    count = {"$add": [{"$ifNull": ["$fence", 0]}, 1]}
    fenced: Document | None = await database["buckets"].find_one_and_update(
        {"_id": bucket, "tenant": tenant, "state": BucketState.ACTIVE.value},
        [{"$set": {"fence": count, "fenced_at": NOW}}],
        projection={"fenced_at": True},
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    if fenced is None:
        raise BucketDeleting
    now: datetime = fenced["fenced_at"]
    return now


def next_seq(last_seq: int, now: datetime) -> int:
    return max(last_seq + 1, round(now.timestamp() * 1000))
