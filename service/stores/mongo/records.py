"""All that the database keeps, as records.

Documents are read and written by id only. What a document has besides (`fence`, the terms of dead
versions) is of no use to another engine, or is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReplaceOne

from service import settings
from service.errors import Conflict
from service.model.audit import Progress, Stray
from service.model.records import (
    ApiKeyRecord,
    BucketRecord,
    EventRecord,
    JobRecord,
    ProgressRecord,
    PublisherRecord,
    Record,
    RecordKind,
    StrayRecord,
    Tombstone,
    UploadRecord,
    VersionRecord,
)
from service.model.version import DeleteMarker
from service.stores.mongo import schema
from service.stores.mongo.documents import (
    OBJECT,
    TOMBSTONE,
    api_key_in,
    api_key_out,
    bucket_in,
    bucket_out,
    entry_out,
    marker_in,
    version_in,
)
from service.stores.mongo.driver import Document, connect, open_database
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_in, event_out
from service.stores.mongo.jobs import job_in, job_out
from service.stores.mongo.restoring import MUST_BE_EMPTY
from service.stores.mongo.upload_documents import upload_in, upload_out

PATIENCE_S = 3600.0
MARK = {"_id": "copy"}


class MongoRecords:
    """`RecordStore` over motor, with a client of its own."""

    def __init__(self, chosen: settings.Metadata) -> None:
        self._client = connect(chosen)
        self._database = open_database(self._client, chosen.database)
        self._guard = Guard(PATIENCE_S)

    async def open(self) -> None:
        with self._guard.writing():
            await self._database.command("ping")
            await schema.prepare(self._database)

    async def begin_filling(self) -> None:
        with self._guard.writing():
            if await self._database["meta"].find_one(MARK) is not None:
                return
            for name in (*MUST_BE_EMPTY, "jobs", "strays", "progress"):
                if await self._database[name].find_one({}, {"_id": True}) is not None:
                    raise Conflict(f"the target is not empty: something is in {name!r}")
            await self._database["meta"].replace_one(MARK, MARK, upsert=True)

    async def read(self, kind: RecordKind, *, after: str, limit: int) -> list[Record]:
        with self._guard.reading():
            cursor = self._database[kind.value].find(
                {"_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit
            )
            return [_OUT[kind](document) for document in await cursor.to_list(limit)]

    async def last(self, kind: RecordKind) -> str:
        with self._guard.reading():
            found = await self._database[kind.value].find_one(
                {}, {"_id": True}, sort=[("_id", DESCENDING)]
            )
        return str(found["_id"]) if found else ""

    async def write(self, kind: RecordKind, records: Sequence[Record]) -> None:
        made = [_document(record) for record in records]
        replacing = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in made]
        with self._guard.writing():
            await self._database[kind.value].bulk_write(replacing, ordered=True)

    async def finish_filling(self) -> None:
        with self._guard.writing():
            await self._database["meta"].delete_one(MARK)

    async def close(self) -> None:
        """In a thread, since the driver tells the server of its ended sessions and waits for it."""
        await asyncio.to_thread(self._client.delegate.close)


def open_records(chosen: settings.Metadata) -> MongoRecords:
    return MongoRecords(chosen)


def _version_out(document: Document) -> Record:
    dead_at = document.get("dead_since")
    if document["kind"] != TOMBSTONE:
        return VersionRecord(entry_out(document), dead_at)
    place = (document["tenant"], document["bucket_id"], document["key"])
    return VersionRecord(Tombstone(document["_id"], *place, document["seq"]), dead_at)


def _event_out(document: Document) -> Record:
    told = {each: document.get(each) for each in ("position", "published_at")}
    return EventRecord(event_out(document), told["position"], told["published_at"])


def _publisher_out(document: Document) -> Record:
    held = (document.get("owner", ""), document["epoch"], document["position"])
    return PublisherRecord(document["_id"], *held, document["lease_until"])


def _stray_out(document: Document) -> Record:
    stray = Stray(document["blob_key"], document["multipart_id"])
    return StrayRecord(document["_id"], stray, document["found_at"], document["seen_at"])


def _progress_out(document: Document) -> Record:
    plain = {name: value for name, value in document.items() if name != "_id"}
    return ProgressRecord(document["_id"], Progress(**plain))


def _job_out(document: Document) -> Record:
    return JobRecord(job_out(document), document.get("owner"), document.get("lease_until"))


_OUT: dict[RecordKind, Callable[[Document], Record]] = {
    RecordKind.BUCKETS: lambda found: BucketRecord(bucket_out(found), found.get("deletion")),
    RecordKind.VERSIONS: _version_out,
    RecordKind.UPLOADS: lambda found: UploadRecord(upload_out(found)),
    RecordKind.API_KEYS: lambda found: ApiKeyRecord(api_key_out(found)),
    RecordKind.JOBS: _job_out,
    RecordKind.EVENTS: _event_out,
    RecordKind.PUBLISHERS: _publisher_out,
    RecordKind.STRAYS: _stray_out,
    RecordKind.PROGRESS: _progress_out,
}


def _document(record: Record) -> Document:
    match record:
        case BucketRecord():
            under_way = {} if record.deletion is None else {"deletion": record.deletion}
            return bucket_in(record.bucket) | under_way
        case VersionRecord():
            return _version_in(record)
        case UploadRecord():
            return upload_in(record.upload)
        case ApiKeyRecord():
            return api_key_in(record.key)
        case JobRecord():
            return job_in(record.job, record.owner, record.lease_until)
        case EventRecord():
            return _event_in(record)
        case PublisherRecord():
            held = {"owner": record.owner, "epoch": record.epoch, "position": record.position}
            return {"_id": record.id} | held | {"lease_until": record.lease_until}
        case StrayRecord():
            what = {"blob_key": record.stray.blob_key, "multipart_id": record.stray.multipart_id}
            return {"_id": record.id} | what | _times(record)
        case ProgressRecord():
            return {"_id": record.id} | _fields(record.progress)


def _version_in(record: VersionRecord) -> Document:
    entry = record.entry
    if isinstance(entry, Tombstone):
        place = {"tenant": entry.tenant, "bucket_id": entry.bucket_id, "key": entry.key}
        marks = {"kind": TOMBSTONE, "latest": True, "dead_since": record.dead_at}
        return {"_id": entry.id, "seq": entry.seq} | place | marks
    if isinstance(entry, DeleteMarker):
        return marker_in(entry)
    document = version_in(entry)
    assert document["kind"] == OBJECT
    if record.dead_at is not None:
        document["dead_since"] = record.dead_at
        del document["live"]
    return document


def _event_in(record: EventRecord) -> Document:
    document = event_in(record.event)
    if record.published_at is not None:
        del document["pending"]
        document |= {"position": record.position, "published_at": record.published_at}
    return document


def _times(record: StrayRecord) -> Document:
    return {"found_at": record.found_at, "seen_at": record.seen_at}


def _fields(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
