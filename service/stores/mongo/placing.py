"""A version becomes what its key names, and what was there dies or steps back.

Part of every transaction that makes a version visible: the commit of an upload, and a move that
hands the blob over.
"""

from __future__ import annotations

from dataclasses import replace

from service.model.event import Event, EventType
from service.model.ids import EventId, new_id
from service.model.version import Version
from service.stores.mongo.deletions import DIE, STEP_BACK, keeps_versions
from service.stores.mongo.documents import MARKER, OBJECT, version_in, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.events import event_in


async def place(
    database: Database,
    version: Version,
    event_id: str,
    current: Document | None,
    bucket: Document,
    session: Session,
) -> Version:
    """Write `version`, whose `seq` is greater than all that its key ever had, and tell of it.

    current: the entry that it comes after. bucket: of its key. Returns it as it was written.
    """
    ended = current is not None and await _end(database, current, bucket, session)
    placed = replace(version, own_subject=bucket.get("has_kept", False))
    if ended:
        # Told after the new one, so that the journal, wherever it is cut, never lacks both.
        placed = replace(placed, changed_seq=placed.seq + 1)
    await database["versions"].insert_one(version_in(placed), session=session)
    now = placed.created_at
    created = Event(EventId(event_id), EventType.OBJECT_CREATED, placed.seq, now, placed)
    await database["events"].insert_one(event_in(created), session=session)
    if current is not None and ended:
        gone, kind = version_out(current), EventType.OBJECT_DELETED
        deleted = Event(EventId(new_id()), kind, placed.changed_seq, now, gone)
        await database["events"].insert_one(event_in(deleted), session=session)
    return placed


async def _end(database: Database, current: Document, bucket: Document, session: Session) -> bool:
    """Whether that needs an event of its own: the new version's has another subject."""
    versions, that_one = database["versions"], {"_id": current["_id"], "latest": True}
    if current["kind"] == MARKER or (current["kind"] == OBJECT and keeps_versions(bucket)):
        await versions.update_one(that_one, STEP_BACK, session=session)
    elif current["kind"] != OBJECT:
        await versions.delete_one(that_one, session=session)
    else:
        await versions.update_one(that_one, DIE, session=session)
        return bool(bucket.get("has_kept"))
    return False
