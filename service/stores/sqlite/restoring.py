"""Filling an empty database from the journal, with a mark as long as it is not whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from service.errors import Conflict
from service.model.api_key import ApiKey
from service.model.bucket import Bucket
from service.model.event import Event
from service.model.ids import BucketId, VersionId
from service.model.version import DeleteMarker
from service.stores.sqlite.clock import in_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import (
    add_marker,
    add_tombstone,
    add_version,
    become_current,
    drop,
)
from service.stores.sqlite.outbox import JOURNAL
from service.stores.sqlite.rows import api_key_in, bucket_in, last_seq_out
from service.stores.sqlite.schema import is_marked
from service.stores.sqlite.statements import change, insert, one

MARK = "rebuild"
RESTORED = ("versions", "bucket_numbers", "buckets", "api_keys", "publishers")
"""What a rebuild fills, and drops again when it begins anew."""
MUST_BE_EMPTY = (*RESTORED, "uploads", "events")
_YOUNGEST = """
    SELECT * FROM versions WHERE bucket_id = ? AND key = ? AND live = 1 AND tenant = ?
    ORDER BY seq DESC LIMIT 1
"""
PATIENCE_S = 3600.0
"""A batch takes as long as it is large."""


class SqliteRestoring:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self) -> None:
        def work(db: Db) -> None:
            if not is_marked(db, MARK):
                for table in MUST_BE_EMPTY:
                    if one(db, f"SELECT 1 FROM {table} LIMIT 1") is not None:
                        raise Conflict(f"the database is not empty: something is in {table!r}")
                insert(db, "marks", {"name": MARK})
            for table in RESTORED:
                db.execute(f"DELETE FROM {table}")

        await self._engine.write(work, deadline_s=PATIENCE_S)

    async def add(self, events: Sequence[Event]) -> None:
        def work(db: Db) -> None:
            try:
                for event in events:
                    _restore(db, event)
            except sqlite3.IntegrityError as exc:
                raise Conflict("the database is being written to by somebody else") from exc

        await self._engine.write(work, deadline_s=PATIENCE_S)

    async def withdraw(self, version: VersionId) -> None:
        def work(db: Db) -> None:
            gone = one(db, "SELECT * FROM versions WHERE id = ?", version)
            if gone is None:
                return
            drop(db, gone)
            if not gone["latest"]:
                return
            heir = one(db, _YOUNGEST, gone["bucket_id"], gone["key"], gone["tenant"])
            if heir is not None:
                become_current(db, heir, last_seq_out(gone))
                return
            place = (gone["tenant"], gone["bucket_id"], gone["key"])
            add_tombstone(db, version, *place, last_seq_out(gone), gone["modified_ms"])

        await self._engine.write(work, deadline_s=PATIENCE_S)

    async def keep_versions(self, buckets: Sequence[BucketId]) -> None:
        def work(db: Db) -> None:
            for bucket in buckets:
                change(db, "UPDATE buckets SET has_kept = 1 WHERE id = ?", bucket)

        if buckets:
            await self._engine.write(work, deadline_s=PATIENCE_S)

    async def finish(self, *, epoch: int, position: int) -> None:
        def work(db: Db) -> None:
            values = {"name": JOURNAL, "owner": "", "epoch": epoch, "position": position}
            insert(db, "publishers", values | {"lease_ms": 0})
            change(db, "DELETE FROM marks WHERE name = ?", MARK)

        await self._engine.write(work, deadline_s=PATIENCE_S)


def _restore(db: Db, event: Event) -> None:
    of = event.of
    match of:
        case Bucket():
            if not event.removes:
                insert(db, "buckets", bucket_in(of))
            return
        case ApiKey():
            insert(db, "api_keys", api_key_in(of))
            return
    if event.removes:
        add_tombstone(db, event.id, of.tenant, of.bucket_id, of.key, event.seq, in_ms(event.at))
    elif isinstance(of, DeleteMarker):
        add_marker(db, of)
    else:
        add_version(db, of)
