"""What the auditor and the scrubber ask of the metadata, and what they note there.

Documents of `strays`: one for each blob or multipart that nobody knows, with the time it was first
found and last seen. Documents of `progress`: one for each worker that goes round in cycles.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime

from pymongo import ASCENDING, ReturnDocument, UpdateOne

from service.model.audit import Claim, Progress, Stray
from service.model.event import Event, EventType
from service.model.ids import BlobKey, EventId, VersionId, new_id
from service.model.upload import UploadState
from service.stores.mongo.clock import NOW, literal, read_clock, read_past
from service.stores.mongo.documents import OBJECT, last_seq_out, pairs_out, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_in
from service.stores.mongo.latest_reads import latest_of
from service.stores.mongo.transactions import Transactions

CLAIM = dict.fromkeys(
    (
        "tenant",
        "bucket_id",
        "key",
        "blob_key",
        "size_bytes",
        "digests",
        "created_at",
        "dead_since",
        "damaged_at",
    ),
    True,
)
"""The fields of a version that a claim needs: user metadata can be long."""
OWED = {"state": True, "keys.blob_key": True, "leftovers.blob_key": True}


class MongoAuditStore:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._database = database
        self._versions = database["versions"]
        self._events = database["events"]
        self._strays = database["strays"]
        self._guard = guard
        self._transactions = transactions

    async def claims(self, *, after: str, limit: int) -> list[Claim]:
        with self._guard.reading():
            cursor = self._versions.find(
                {"kind": OBJECT, "blob_key": {"$gt": after}},
                CLAIM,
                sort=[("blob_key", ASCENDING)],
                limit=limit,
            )
            return [_claim_out(document) for document in await cursor.to_list(limit)]

    async def claims_on(self, keys: Collection[BlobKey]) -> list[Claim]:
        if not keys:
            return []
        with self._guard.reading():
            cursor = self._versions.find({"kind": OBJECT, "blob_key": {"$in": list(keys)}}, CLAIM)
            return [_claim_out(document) for document in await cursor.to_list(None)]

    async def owed(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        if not keys:
            return set()
        with self._guard.reading():
            cursor = self._database["uploads"].find({"keys.blob_key": {"$in": list(keys)}}, OWED)
            found = await cursor.to_list(None)
        return {key for upload in found for key in _owed_by(upload)} & set(keys)

    async def mark_damaged(self, version: VersionId, *, damaged: bool) -> bool:
        change_id = new_id()
        with self._guard.reading():
            now = await read_clock(self._database)

        async def work(session: Session) -> bool:
            wanted = {"_id": version, "live": True}
            found = await self._versions.find_one(wanted, session=session)
            if found is None or ("damaged_at" in found) is damaged:
                return False
            seq = await self._touch_key(found, session)
            marked = await self._versions.find_one_and_update(
                wanted,
                _mark(now if damaged else None),
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            kind = EventType.OBJECT_DAMAGED if damaged else EventType.OBJECT_REPAIRED
            event = Event(EventId(change_id), kind, seq, now, version_out(marked))
            await self._events.insert_one(event_in(event), session=session)
            return True

        async def landed() -> bool | None:
            with self._guard.reading():
                return await self._events.find_one({"_id": change_id}) is not None or None

        return await self._transactions.run(work, landed, deadline_s=self._guard.timeout_s)

    async def _touch_key(self, version: Document, session: Session) -> int:
        """Note a change of the key in its current entry, and return the `seq` that it has."""
        current = await self._versions.find_one(
            latest_of(version["tenant"], version["bucket_id"], version["key"]), session=session
        )
        entry = current or version
        touched = await self._versions.find_one_and_update(
            {"_id": entry["_id"], "latest": entry["latest"]},
            [{"$set": {"changed_seq": {"$max": [last_seq_out(entry) + 1, {"$toLong": NOW}]}}}],
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return last_seq_out(touched)

    async def quarantine(self, strays: Collection[Stray]) -> None:
        if not strays:
            return
        notes = [
            UpdateOne(
                {"_id": _name(stray)},
                [
                    {
                        "$set": {
                            "blob_key": literal(stray.blob_key),
                            "multipart_id": literal(stray.multipart_id),
                            "found_at": {"$ifNull": ["$found_at", NOW]},
                            "seen_at": NOW,
                        }
                    }
                ],
                upsert=True,
            )
            for stray in strays
        ]
        with self._guard.writing():
            await self._strays.bulk_write(notes, ordered=False)

    async def quarantined(self, *, found_before_s: float, limit: int) -> list[Stray]:
        with self._guard.reading():
            before = await read_past(self._database, found_before_s)
            cursor = self._strays.find(
                {"found_at": {"$lte": before}}, sort=[("found_at", ASCENDING)], limit=limit
            )
            found = await cursor.to_list(limit)
        return [Stray(document["blob_key"], document["multipart_id"]) for document in found]

    async def release(self, strays: Collection[Stray]) -> None:
        with self._guard.writing():
            await self._strays.delete_many({"_id": {"$in": [_name(stray) for stray in strays]}})

    async def release_unseen(self, since: datetime) -> int:
        with self._guard.writing():
            released = await self._strays.delete_many({"seen_at": {"$lt": since}})
        return released.deleted_count

    async def progress(self, worker: str) -> Progress:
        with self._guard.reading():
            found = await self._database["progress"].find_one({"_id": worker}, {"_id": False})
        return Progress(**found) if found else Progress()

    async def save_progress(self, worker: str, progress: Progress) -> None:
        with self._guard.writing():
            await self._database["progress"].replace_one(
                {"_id": worker}, asdict(progress), upsert=True
            )


def _claim_out(document: Document) -> Claim:
    return Claim(
        version=document["_id"],
        tenant=document["tenant"],
        bucket_id=document["bucket_id"],
        key=document["key"],
        blob_key=document["blob_key"],
        size_bytes=document["size_bytes"],
        crc64nvme=pairs_out(document["digests"])["crc64nvme"],
        created_at=document["created_at"],
        dead="dead_since" in document,
        damaged="damaged_at" in document,
    )


def _owed_by(upload: Document) -> list[BlobKey]:
    committed = upload["state"] == UploadState.COMMITTED.value
    used = upload.get("leftovers", []) if committed else upload["keys"]
    return [key["blob_key"] for key in used]


def _mark(damaged_at: datetime | None) -> list[Document]:
    changes: Document = {"revision": {"$add": ["$revision", 1]}}
    if damaged_at is None:
        return [{"$set": changes}, {"$unset": ["damaged_at"]}]
    return [{"$set": changes | {"damaged_at": damaged_at}}]


def _name(stray: Stray) -> str:
    """No id of a multipart has a question mark; a key may."""
    return f"{stray.multipart_id or ''}?{stray.blob_key}"
