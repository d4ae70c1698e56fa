"""A version becomes what its key names, and what was there dies or steps back.

Part of every transaction that makes a version visible: the commit of an upload, and a move that
hands the blob over.
"""

from __future__ import annotations

from dataclasses import replace

from service.model.bucket import Bucket
from service.model.event import Event, EventType
from service.model.ids import EventId, new_id
from service.model.version import Version
from service.stores.sqlite.clock import in_ms
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.entries import add_version, announce, die, drop, step_back
from service.stores.sqlite.rows import MARKER, OBJECT, version_out


def place(db: Db, version: Version, event_id: str, current: Row | None, bucket: Bucket) -> Version:
    """Write `version`, whose `seq` is greater than all that its key ever had, and tell of it.

    current: the entry that it comes after. bucket: of its key. Returns it as it was written.
    """
    ended = current is not None and _end(db, current, bucket, in_ms(version.created_at))
    placed = replace(version, own_subject=bucket.has_kept)
    if ended:
        # Told after the new one, so that the journal, wherever it is cut, never lacks both.
        placed = replace(placed, changed_seq=placed.seq + 1)
    add_version(db, placed)
    now = placed.created_at
    announce(db, Event(EventId(event_id), EventType.OBJECT_CREATED, placed.seq, now, placed))
    if current is not None and ended:
        gone, kind = version_out(current), EventType.OBJECT_DELETED
        announce(db, Event(EventId(new_id()), kind, placed.changed_seq, now, gone))
    return placed


def _end(db: Db, current: Row, bucket: Bucket, at_ms: int) -> bool:
    """Whether that needs an event of its own: the new version's has another subject."""
    kind = current["kind"]
    if kind == MARKER or (kind == OBJECT and bucket.settings.versioning):
        step_back(db, current)
    elif kind != OBJECT:
        drop(db, current)
    else:
        die(db, current, at_ms)
        return bucket.has_kept
    return False
