"""A move that is metadata only: the blob goes over to a version of another name.

One transaction, without an entry in the ledger. Inside: the source still names the version that is
to be moved, in a bucket that keeps none; both buckets are active; the preconditions of the
destination hold. Then a new version takes the destination's name (placing.py), with the same blob;
the source's document is deleted, not dead, for the sweeper deletes the blobs of the dead; and what
a delete leaves stands in its place (deletions.py). One blob belongs to one version at any moment.

It conflicts with every change of either key, since those write to the current entries, or, where a
key has none, meet the unique index; and with the deletion of either bucket (`enter_bucket`).

The new version's `seq` is greater than the old one's, so that of two claims on one blob, in a
journal that was cut between the two events, the greater one is the right one. The removal's `seq`
is greater still: the publisher goes by it, and the journal never has the removal alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from service.errors import BucketNotFound
from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.upload import MovedFrom
from service.model.version import HandedOver, Version
from service.stores.mongo.deletions import Deletion, enter_bucket, keeps_versions, next_seq
from service.stores.mongo.documents import OBJECT, last_seq_out, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.latest_reads import latest_of
from service.stores.mongo.placing import place


@dataclass(slots=True)
class HandOver:
    """`run` is the body of the transaction, `landed` its read-back by the new version's id."""

    database: Database
    tenant: TenantId
    source: MovedFrom
    bucket_id: BucketId
    key: str
    new_version: VersionId
    preconditions: Preconditions
    _replaced: bool = field(default=False, init=False)

    async def run(self, session: Session) -> HandedOver | None:
        """Raises BucketNotFound, BucketDeleting, PreconditionFailed."""
        old = await self._old(session)
        if old is None:
            return None
        bucket = await self._bucket(self.bucket_id, session)
        now = await enter_bucket(self.database, self.tenant, self.bucket_id, session)
        current = await self._current(self.bucket_id, self.key, session)
        names = version_out(current) if current and current["kind"] == OBJECT else None
        self.preconditions.check_write(names)
        last_seq = max(last_seq_out(current) if current else 0, old.last_seq)
        moved = replace(
            old,
            id=self.new_version,
            bucket_id=self.bucket_id,
            key=self.key,
            seq=next_seq(last_seq, now),
            changed_seq=0,
            created_at=now,
            modified_at=now,
            revision=1,
        )
        await self._remove_source(moved.seq, session)
        placed = await place(self.database, moved, moved.id, current, bucket, session)
        self._replaced = names is not None
        return HandedOver(placed, self._replaced)

    async def landed(self) -> HandedOver | None:
        event = await self.database["events"].find_one({"_id": self.new_version})
        return HandedOver(version_out(event["version"]), self._replaced) if event else None

    async def _old(self, session: Session) -> Version | None:
        if keeps_versions(await self._bucket(self.source.bucket_id, session)):
            return None
        found = await self._current(self.source.bucket_id, self.source.key, session)
        if found is None or found["_id"] != self.source.version:
            return None
        return version_out(found)

    async def _remove_source(self, after_seq: int, session: Session) -> None:
        deletion = Deletion(
            self.database,
            self.tenant,
            self.source.bucket_id,
            self.source.key,
            Preconditions(),
            hands_over=True,
            after_seq=after_seq,
        )
        await deletion.run(session)

    async def _bucket(self, bucket_id: BucketId, session: Session) -> Document:
        wanted = {"_id": bucket_id, "tenant": self.tenant}
        found: Document | None = await self.database["buckets"].find_one(wanted, session=session)
        if found is None:
            raise BucketNotFound
        return found

    async def _current(self, bucket_id: BucketId, key: str, session: Session) -> Document | None:
        wanted = latest_of(self.tenant, bucket_id, key)
        found: Document | None = await self.database["versions"].find_one(wanted, session=session)
        return found
