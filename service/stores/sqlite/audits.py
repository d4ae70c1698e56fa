"""What the auditor and the scrubber ask of the metadata, and what they note there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from datetime import datetime
from typing import TypeVar

from service.model.audit import Claim, Progress, Stray
from service.model.event import Event, EventType
from service.model.ids import BlobKey, EventId, VersionId, new_id
from service.stores.sqlite.bucket_rows import next_seq
from service.stores.sqlite.clock import in_ms, maybe_moment, moment, now_ms, past
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import announce, current_of, note_change
from service.stores.sqlite.rows import digests_out, json_in, json_out, last_seq_out, version_out
from service.stores.sqlite.statements import change, many, one

T = TypeVar("T")

_CLAIM = """
    SELECT id, tenant, bucket_id, key, seq, blob_key, size_bytes, digests, created_ms, live,
        damaged_ms FROM versions
"""
_CLAIMS = f"{_CLAIM} WHERE blob_key IS NOT NULL AND blob_key > ? ORDER BY blob_key LIMIT ?"
_CLAIMS_ON = f"{_CLAIM} WHERE blob_key IS NOT NULL AND blob_key = ?"
_OWED = """
    SELECT 1 FROM upload_keys k JOIN uploads u ON u.id = k.upload_id
    WHERE k.blob_key = ? AND (u.state <> 'committed' OR k.leftover = 1) LIMIT 1
"""
_COUNTING = "SELECT * FROM versions WHERE id = ? AND live = 1 AND kind = 'object'"
_DAMAGED = "UPDATE versions SET damaged_ms = ?, revision = revision + 1 WHERE no = ?"
_SEEN = """
    INSERT INTO strays (name, blob_key, multipart_id, found_ms, seen_ms) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET seen_ms = excluded.seen_ms
"""
_FOUND = "SELECT * FROM strays WHERE found_ms <= ? ORDER BY found_ms LIMIT ?"
_RELEASE = "DELETE FROM strays WHERE name = ?"
_UNSEEN = "DELETE FROM strays WHERE seen_ms < ?"
_PROGRESS = "SELECT facts FROM progress WHERE worker = ?"
_SAVE = """
    INSERT INTO progress (worker, facts) VALUES (?, ?)
    ON CONFLICT (worker) DO UPDATE SET facts = excluded.facts
"""


class SqliteAuditStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def claims(self, *, after: str, limit: int) -> list[Claim]:
        def work(db: Db) -> list[Claim]:
            return [_claim_out(row) for row in many(db, _CLAIMS, after, limit)]

        return await self._engine.read(work)

    async def claims_on(self, keys: Collection[BlobKey]) -> list[Claim]:
        wanted = list(keys)

        def work(db: Db) -> list[Claim]:
            return [_claim_out(row) for key in wanted for row in many(db, _CLAIMS_ON, key)]

        return await self._engine.read(_in_one_snapshot(work))

    async def owed(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        wanted = list(keys)

        def work(db: Db) -> set[BlobKey]:
            return {key for key in wanted if one(db, _OWED, key) is not None}

        return await self._engine.read(_in_one_snapshot(work))

    async def mark_damaged(self, version: VersionId, *, damaged: bool) -> bool:
        def work(db: Db) -> bool:
            found = one(db, _COUNTING, version)
            if found is None or (found["damaged_ms"] is not None) is damaged:
                return False
            at_ms = now_ms()
            marked_at = at_ms if damaged else None
            seq = _touch_key(db, found, at_ms)
            change(db, _DAMAGED, marked_at, found["no"])
            stored = one(db, _COUNTING, version)
            assert stored is not None
            kind = EventType.OBJECT_DAMAGED if damaged else EventType.OBJECT_REPAIRED
            announce(db, Event(EventId(new_id()), kind, seq, moment(at_ms), version_out(stored)))
            return True

        return await self._engine.write(work)

    async def quarantine(self, strays: Collection[Stray]) -> None:
        notes = [(_name(stray), stray.blob_key, stray.multipart_id) for stray in strays]

        def work(db: Db) -> None:
            at_ms = now_ms()
            db.executemany(_SEEN, [(*note, at_ms, at_ms) for note in notes])

        if notes:
            await self._engine.write(work)

    async def quarantined(self, *, found_before_s: float, limit: int) -> list[Stray]:
        def work(db: Db) -> list[Stray]:
            found = many(db, _FOUND, past(found_before_s), limit)
            return [Stray(row["blob_key"], row["multipart_id"]) for row in found]

        return await self._engine.read(work)

    async def release(self, strays: Collection[Stray]) -> None:
        names = [(_name(stray),) for stray in strays]

        def work(db: Db) -> None:
            db.executemany(_RELEASE, names)

        if names:
            await self._engine.write(work)

    async def release_unseen(self, since: datetime) -> int:
        return await self._engine.write(lambda db: change(db, _UNSEEN, in_ms(since)))

    async def progress(self, worker: str) -> Progress:
        def work(db: Db) -> Progress:
            found = one(db, _PROGRESS, worker)
            return progress_out(found["facts"]) if found is not None else Progress()

        return await self._engine.read(work)

    async def save_progress(self, worker: str, progress: Progress) -> None:
        facts = progress_in(progress)
        await self._engine.write(lambda db: change(db, _SAVE, worker, facts))


def _in_one_snapshot(work: Callable[[Db], T]) -> Callable[[Db], T]:
    def all_of_it(db: Db) -> T:
        db.execute("BEGIN")
        try:
            return work(db)
        finally:
            db.execute("ROLLBACK")

    return all_of_it


def _touch_key(db: Db, version: Row, at_ms: int) -> int:
    """Note a change of the key in its current entry, and return the `seq` that it has."""
    current = current_of(db, version["tenant"], version["bucket_id"], version["key"])
    entry = current if current is not None else version
    seq = next_seq(last_seq_out(entry), at_ms)
    note_change(db, entry, seq)
    return seq


def _claim_out(row: Row) -> Claim:
    return Claim(
        version=row["id"],
        tenant=row["tenant"],
        bucket_id=row["bucket_id"],
        key=row["key"],
        blob_key=row["blob_key"],
        size_bytes=row["size_bytes"],
        crc64nvme=digests_out(row["digests"])["crc64nvme"],
        created_at=moment(row["created_ms"]),
        dead=not row["live"],
        damaged=row["damaged_ms"] is not None,
        seq=row["seq"],
    )


def _name(stray: Stray) -> str:
    """No id of a multipart has a question mark; a key may."""
    return f"{stray.multipart_id or ''}?{stray.blob_key}"


def progress_in(progress: Progress) -> str:
    began, finished = progress.began_at, progress.finished_at
    return json_in(
        asdict(progress)
        | {
            "began_at": None if began is None else in_ms(began),
            "finished_at": None if finished is None else in_ms(finished),
            "crc64nvme": progress.crc64nvme.hex(),
        }
    )


def progress_out(text: str) -> Progress:
    plain = json_out(text)
    return replace(
        Progress(**plain),
        began_at=maybe_moment(plain["began_at"]),
        finished_at=maybe_moment(plain["finished_at"]),
        crc64nvme=bytes.fromhex(plain["crc64nvme"]),
    )
