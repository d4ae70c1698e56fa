"""The entries of keys (objects, delete markers, tombstones) and what searches read of them.

Every change of an entry that matters to a search goes through here, so that `terms` always holds
those of the objects that keys name now, and no others.
"""

from __future__ import annotations

from service.model.event import Event
from service.model.ids import BucketId, TenantId
from service.model.version import DeleteMarker, Version
from service.protocol.event_json import event_line
from service.protocol.terms import WORD, terms_of
from service.stores.sqlite.clock import in_ms
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.rows import (
    OBJECT,
    Values,
    marker_in,
    tombstone_in,
    version_in,
    version_out,
)
from service.stores.sqlite.statements import change, insert, one

_CURRENT = "SELECT * FROM versions WHERE bucket_id = ? AND key = ? AND latest = 1 AND tenant = ?"
_NUMBER = "SELECT no FROM bucket_numbers WHERE bucket_id = ?"
_TERM = "INSERT INTO terms VALUES (?, ?, ?, ?, ?, ?, ?)"


def current_of(db: Db, tenant: TenantId, bucket: BucketId, key: str) -> Row | None:
    """The entry that the key names now: an object, a delete marker or a tombstone."""
    return one(db, _CURRENT, bucket, key, tenant)


def current_version(row: Row | None) -> Version | None:
    return version_out(row) if row is not None and row["kind"] == OBJECT else None


def add_version(db: Db, version: Version) -> None:
    no = insert(db, "versions", version_in(version))
    if version.latest:
        add_terms(db, no, version)


def add_marker(db: Db, marker: DeleteMarker) -> None:
    insert(db, "versions", marker_in(marker))


def add_tombstone(
    db: Db, id: str, tenant: TenantId, bucket: BucketId, key: str, seq: int, at_ms: int
) -> None:
    insert(db, "versions", tombstone_in(id, tenant, bucket, key, seq, at_ms))


def step_back(db: Db, row: Row) -> None:
    """It counts, but is not what the key names any more."""
    change(db, "UPDATE versions SET latest = 0, changed_seq = 0 WHERE no = ?", row["no"])
    _drop_terms(db, row)


def die(db: Db, row: Row, at_ms: int) -> None:
    """From here on only the sweeper wants it."""
    change(
        db,
        "UPDATE versions SET latest = 0, live = 0, changed_seq = 0, dead_ms = ? WHERE no = ?",
        at_ms,
        row["no"],
    )
    _drop_terms(db, row)


def drop(db: Db, row: Row) -> None:
    change(db, "DELETE FROM versions WHERE no = ?", row["no"])


def become_current(db: Db, row: Row, changed_seq: int) -> None:
    """The youngest of those that are left."""
    change(
        db, "UPDATE versions SET latest = 1, changed_seq = ? WHERE no = ?", changed_seq, row["no"]
    )
    if row["kind"] == OBJECT:
        add_terms(db, row["no"], version_out(row))


def note_change(db: Db, row: Row, changed_seq: int) -> None:
    """A change of the key that leaves its current entry the current one."""
    change(db, "UPDATE versions SET changed_seq = ? WHERE no = ?", changed_seq, row["no"])


def renew_terms(db: Db, row: Row, version: Version) -> None:
    """After a change of its facts."""
    _drop_terms(db, row)
    add_terms(db, row["no"], version)


def add_terms(db: Db, no: int, version: Version) -> None:
    bucket_no = _bucket_no(db, version.bucket_id)
    whole = (1, bucket_no, version.key, in_ms(version.created_at), version.size_bytes)
    word = (0, bucket_no, "", 0, 0)
    db.executemany(
        _TERM,
        [
            (no, term, *(word if term.startswith(WORD) else whole))
            for term in terms_of(version.key, version.facts)
        ],
    )


def _bucket_no(db: Db, bucket: BucketId) -> int:
    found = one(db, _NUMBER, bucket)
    if found is None:
        return insert(db, "bucket_numbers", {"bucket_id": bucket})
    return int(found["no"])


def _drop_terms(db: Db, row: Row) -> None:
    if row["kind"] == OBJECT:
        change(db, "DELETE FROM terms WHERE no = ?", row["no"])


def announce(db: Db, event: Event) -> None:
    """Append an event to the outbox, as part of the change that it tells of."""
    insert(db, "events", event_values(event))


def event_values(event: Event) -> Values:
    """The row of an event that waits to be published."""
    return {
        "id": event.id,
        "seq": event.seq,
        "at_ms": in_ms(event.at),
        "line": event_line(event, 0).decode(),
        "pending": 1,
        "position": None,
        "published_ms": None,
    }
