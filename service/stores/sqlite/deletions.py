"""What becomes of a key when one of its versions, or its name, is deleted.

Each is one transaction. The `seq` of a change is greater than all before it of its key; where the
change leaves an entry that was there the current one, that entry notes it (`changed_seq`).

    bucket that keeps no versions   the version is dead, a tombstone takes its place
    bucket that keeps versions      the version stays, a delete marker hides it
    versioning was switched off     the version is dead; a marker hides those that were kept, if any
    one version, for good           it is dead (a marker is removed); was it the current entry, the
                                    youngest of the others is, or a tombstone where there is none
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.version import DeleteMarker, Entry, Version
from service.stores.sqlite.bucket_rows import bucket_of, next_seq, require_active
from service.stores.sqlite.clock import moment, now_ms
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.entries import (
    add_marker,
    add_tombstone,
    announce,
    become_current,
    current_of,
    current_version,
    die,
    drop,
    note_change,
    step_back,
)
from service.stores.sqlite.rows import entry_out, last_seq_out
from service.stores.sqlite.statements import one

_COUNTING = """
    SELECT * FROM versions
    WHERE id = ? AND tenant = ? AND bucket_id = ? AND key = ? AND live = 1
"""
_YOUNGEST_BUT = """
    SELECT * FROM versions
    WHERE bucket_id = ? AND key = ? AND live = 1 AND id <> ? AND tenant = ?
    ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of a name, or of one `version` for good: `run` is the body of the transaction.

    hands_over: the name's version goes on elsewhere with its blob, so it leaves no dead one; not
    for a bucket that keeps versions. after_seq: its events get a greater `seq` than that.
    """

    tenant: TenantId
    bucket_id: BucketId
    key: str
    preconditions: Preconditions
    version: VersionId | None = None
    hands_over: bool = False
    after_seq: int = 0
    change_id: str = field(default_factory=new_id)

    def run(self, db: Db) -> Entry | None:
        """Raises PreconditionFailed, BucketNotFound, BucketDeleting."""
        if self.version is not None:
            return self._remove(db, self.version)
        row = current_of(db, self.tenant, self.bucket_id, self.key)
        current = current_version(row)
        self.preconditions.check_write(current)
        if row is None or current is None:
            return None
        bucket = bucket_of(db, self.tenant, self.bucket_id)
        if bucket.settings.versioning:
            require_active(bucket)
            step_back(db, row)
            return self._hide(db, current.last_seq)
        others = self._youngest_but(db, current.id) if bucket.has_kept else None
        if others is not None or self.hands_over:
            require_active(bucket)
        self._end(db, row, keeps_others=others is not None)
        return current

    def _end(self, db: Db, row: Row, *, keeps_others: bool) -> None:
        current = entry_out(row)
        at_ms = now_ms()
        if self.hands_over:
            drop(db, row)
        else:
            die(db, row, at_ms)
        if keeps_others:
            # First in the journal: where that got only the one of the two, the name is gone.
            seq = self._hide(db, last_seq_out(row), then=1).changed_seq
        else:
            seq = self._next(last_seq_out(row), at_ms)
            self._leave_tombstone(db, seq, at_ms)
        self._tell(db, current, seq, at_ms)

    def _remove(self, db: Db, version: VersionId) -> Entry | None:
        target = one(db, _COUNTING, version, self.tenant, self.bucket_id, self.key)
        if target is None:
            return None
        entry = entry_out(target)
        self.preconditions.check_write(entry if isinstance(entry, Version) else None)
        current = current_of(db, self.tenant, self.bucket_id, self.key)
        is_current = current is not None and current["id"] == version
        heir = self._youngest_but(db, version) if is_current else None
        at_ms = now_ms()
        if isinstance(entry, DeleteMarker):
            drop(db, target)
        else:
            die(db, target, at_ms)
        seq = self._next(last_seq_out(current) if current is not None else entry.seq, at_ms)
        if heir is not None:
            become_current(db, heir, seq)
        elif is_current:
            self._leave_tombstone(db, seq, at_ms)
        elif current is not None:
            note_change(db, current, seq)
        self._tell(db, entry, seq, at_ms)
        return entry

    def _youngest_but(self, db: Db, version: VersionId) -> Row | None:
        return one(db, _YOUNGEST_BUT, self.bucket_id, self.key, version, self.tenant)

    def _leave_tombstone(self, db: Db, seq: int, at_ms: int) -> None:
        add_tombstone(db, self.change_id, self.tenant, self.bucket_id, self.key, seq, at_ms)

    def _hide(self, db: Db, last_seq: int, *, then: int = 0) -> DeleteMarker:
        """then: how many more changes of the key the transaction makes."""
        at_ms = now_ms()
        seq = self._next(last_seq, at_ms)
        marker = DeleteMarker(
            VersionId(new_id()),
            self.tenant,
            self.bucket_id,
            self.key,
            seq,
            moment(at_ms),
            changed_seq=seq + then if then else 0,
        )
        add_marker(db, marker)
        kind = EventType.MARKER_CREATED
        announce(db, Event(EventId(marker.id), kind, marker.seq, marker.created_at, marker))
        return marker

    def _next(self, last_seq: int, at_ms: int) -> int:
        return next_seq(max(last_seq, self.after_seq), at_ms)

    def _tell(self, db: Db, entry: Entry, seq: int, at_ms: int) -> None:
        kind = EventType.OBJECT_DELETED
        announce(db, Event(EventId(self.change_id), kind, seq, moment(at_ms), entry))
