"""A move that is metadata only: the blob goes over to a version of another name.

One transaction, without an entry in the ledger. The source's row is deleted, not dead, for the
sweeper deletes the blobs of the dead; one blob belongs to one version at any moment.

The new version's `seq` is greater than the old one's, so that of two claims on one blob, in a
journal that was cut between the two events, the greater one is the right one. The removal's `seq`
is greater still: the publisher goes by it, and the journal never has the removal alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.model.ids import BucketId, TenantId, VersionId
from service.model.preconditions import Preconditions
from service.model.upload import MovedFrom
from service.model.version import HandedOver, Version
from service.stores.sqlite.bucket_rows import bucket_of, next_seq, require_active
from service.stores.sqlite.clock import moment, now_ms
from service.stores.sqlite.deletions import Deletion
from service.stores.sqlite.driver import Db
from service.stores.sqlite.entries import current_of, current_version
from service.stores.sqlite.placing import place
from service.stores.sqlite.rows import last_seq_out


@dataclass(frozen=True, slots=True)
class HandOver:
    """`run` is the body of the transaction."""

    tenant: TenantId
    source: MovedFrom
    bucket_id: BucketId
    key: str
    new_version: VersionId
    preconditions: Preconditions

    def run(self, db: Db) -> HandedOver | None:
        """Raises BucketNotFound, BucketDeleting, PreconditionFailed."""
        old = self._old(db)
        if old is None:
            return None
        bucket = bucket_of(db, self.tenant, self.bucket_id)
        require_active(bucket)
        current = current_of(db, self.tenant, self.bucket_id, self.key)
        names = current_version(current)
        self.preconditions.check_write(names)
        last_seq = max(last_seq_out(current) if current is not None else 0, old.last_seq)
        at_ms = now_ms()
        moved = replace(
            old,
            id=self.new_version,
            bucket_id=self.bucket_id,
            key=self.key,
            seq=next_seq(last_seq, at_ms),
            changed_seq=0,
            created_at=moment(at_ms),
            modified_at=moment(at_ms),
            revision=1,
        )
        self._remove_source(db, moved.seq)
        placed = place(db, moved, moved.id, current, bucket)
        return HandedOver(placed, names is not None)

    def _old(self, db: Db) -> Version | None:
        if bucket_of(db, self.tenant, self.source.bucket_id).settings.versioning:
            return None
        found = current_version(current_of(db, self.tenant, self.source.bucket_id, self.source.key))
        return found if found is not None and found.id == self.source.version else None

    def _remove_source(self, db: Db, after_seq: int) -> None:
        source = self.source
        Deletion(
            self.tenant,
            source.bucket_id,
            source.key,
            Preconditions(),
            hands_over=True,
            after_seq=after_seq,
        ).run(db)
