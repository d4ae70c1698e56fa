"""All that the file keeps, as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from service.errors import Conflict
from service.model.audit import Stray
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
from service.protocol.event_json import parse_event
from service.stores.sqlite import schema
from service.stores.sqlite.audits import progress_in, progress_out
from service.stores.sqlite.clock import in_ms, maybe_moment, moment
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import add_terms, event_values
from service.stores.sqlite.jobs import job_out
from service.stores.sqlite.ledger import whole
from service.stores.sqlite.restoring import MUST_BE_EMPTY
from service.stores.sqlite.resumable_rows import upload_parts_in
from service.stores.sqlite.rows import (
    OBJECT,
    TOMBSTONE,
    Values,
    api_key_in,
    api_key_out,
    bucket_in,
    bucket_out,
    entry_out,
    marker_in,
    tombstone_in,
    version_in,
    version_out,
)
from service.stores.sqlite.statements import change, insert, many, one
from service.stores.sqlite.upload_rows import upload_in, upload_keys_in

MARK = "copy"
PATIENCE_S = 3600.0
_IDS = {
    RecordKind.PUBLISHERS: "name",
    RecordKind.STRAYS: "name",
    RecordKind.PROGRESS: "worker",
}


class SqliteRecords:
    """`RecordStore` over a file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self) -> None:
        await self._engine.open()
        await self._engine.write(schema.prepare)

    async def begin_filling(self) -> None:
        def work(db: Db) -> None:
            if schema.is_marked(db, MARK):
                return
            for table in (*MUST_BE_EMPTY, "jobs", "strays", "progress"):
                if one(db, f"SELECT 1 FROM {table} LIMIT 1") is not None:
                    raise Conflict(f"the target is not empty: something is in {table!r}")
            insert(db, "marks", {"name": MARK})

        await self._engine.write(work)

    async def read(self, kind: RecordKind, *, after: str, limit: int) -> list[Record]:
        id = _IDS.get(kind, "id")
        page = f"SELECT * FROM {kind.value} WHERE {id} > ? ORDER BY {id} LIMIT ?"

        def work(db: Db) -> list[Record]:
            return [_OUT[kind](db, row) for row in many(db, page, after, limit)]

        return await self._engine.read(work)

    async def last(self, kind: RecordKind) -> str:
        greatest = f"SELECT max({_IDS.get(kind, 'id')}) AS id FROM {kind.value}"

        def work(db: Db) -> str:
            found = one(db, greatest)
            return (found["id"] if found is not None else None) or ""

        return await self._engine.read(work)

    async def write(self, kind: RecordKind, records: Sequence[Record]) -> None:
        gone = f"DELETE FROM {kind.value} WHERE {_IDS.get(kind, 'id')} = ?"

        def work(db: Db) -> None:
            for record in records:
                change(db, gone, record.id)
                _put(db, kind, record)

        await self._engine.write(work, deadline_s=PATIENCE_S)

    async def finish_filling(self) -> None:
        await self._engine.write(lambda db: change(db, "DELETE FROM marks WHERE name = ?", MARK))

    async def close(self) -> None:
        await self._engine.close()


def _version_out(_: Db, row: Row) -> Record:
    dead_at = maybe_moment(row["dead_ms"])
    if row["kind"] != TOMBSTONE:
        return VersionRecord(entry_out(row), dead_at)
    place = (row["tenant"], row["bucket_id"], row["key"])
    return VersionRecord(Tombstone(row["id"], *place, row["seq"]), dead_at)


def _job_out(_: Db, row: Row) -> Record:
    return JobRecord(job_out(row), row["owner"], maybe_moment(row["lease_ms"]))


def _event_out(_: Db, row: Row) -> Record:
    at = maybe_moment(row["published_ms"])
    return EventRecord(parse_event(row["line"]), row["position"], at)


def _publisher_out(_: Db, row: Row) -> Record:
    held = (row["owner"], row["epoch"], row["position"])
    return PublisherRecord(row["name"], *held, moment(row["lease_ms"]))


def _stray_out(_: Db, row: Row) -> Record:
    stray = Stray(row["blob_key"], row["multipart_id"])
    return StrayRecord(row["name"], stray, moment(row["found_ms"]), moment(row["seen_ms"]))


_OUT: dict[RecordKind, Callable[[Db, Row], Record]] = {
    RecordKind.BUCKETS: lambda _, row: BucketRecord(bucket_out(row), row["deletion"]),
    RecordKind.VERSIONS: _version_out,
    RecordKind.UPLOADS: lambda db, row: UploadRecord(whole(db, row)),
    RecordKind.API_KEYS: lambda _, row: ApiKeyRecord(api_key_out(row)),
    RecordKind.JOBS: _job_out,
    RecordKind.EVENTS: _event_out,
    RecordKind.PUBLISHERS: _publisher_out,
    RecordKind.STRAYS: _stray_out,
    RecordKind.PROGRESS: lambda _, row: ProgressRecord(row["worker"], progress_out(row["facts"])),
}


def _put(db: Db, kind: RecordKind, record: Record) -> None:
    match record:
        case VersionRecord():
            _put_version(db, record)
        case UploadRecord():
            insert(db, "uploads", upload_in(record.upload))
            for values in upload_keys_in(record.upload):
                insert(db, "upload_keys", values)
            for values in upload_parts_in(record.upload):
                insert(db, "upload_parts", values)
        case _:
            insert(db, kind.value, _values(record))


def _put_version(db: Db, record: VersionRecord) -> None:
    entry, dead_ms = record.entry, None if record.dead_at is None else in_ms(record.dead_at)
    if isinstance(entry, Tombstone):
        place = (entry.id, entry.tenant, entry.bucket_id, entry.key)
        insert(db, "versions", tombstone_in(*place, entry.seq, dead_ms or 0))
        return
    values = marker_in(entry) if isinstance(entry, DeleteMarker) else version_in(entry)
    values |= {"live": int(dead_ms is None), "dead_ms": dead_ms}
    no = insert(db, "versions", values)
    if values["kind"] == OBJECT and values["latest"]:
        found = one(db, "SELECT * FROM versions WHERE no = ?", no)
        assert found is not None
        add_terms(db, no, version_out(found))


def _values(record: Any) -> Values:
    match record:
        case BucketRecord():
            return bucket_in(record.bucket) | {"deletion": record.deletion}
        case ApiKeyRecord():
            return api_key_in(record.key)
        case JobRecord():
            return _job_in(record)
        case EventRecord():
            published = record.published_at
            return event_values(record.event) | {
                "pending": int(published is None),
                "position": record.position,
                "published_ms": None if published is None else in_ms(published),
            }
        case PublisherRecord():
            held = {"owner": record.owner, "epoch": record.epoch, "position": record.position}
            return {"name": record.id} | held | {"lease_ms": in_ms(record.lease_until)}
        case StrayRecord():
            what = {"blob_key": record.stray.blob_key, "multipart_id": record.stray.multipart_id}
            times = {"found_ms": in_ms(record.found_at), "seen_ms": in_ms(record.seen_at)}
            return {"name": record.id} | what | times
        case ProgressRecord():
            return {"worker": record.id, "facts": progress_in(record.progress)}
    raise TypeError(type(record).__name__)


def _job_in(record: JobRecord) -> Values:
    job, lease, finished = record.job, record.lease_until, record.job.finished_at
    return {
        "id": job.id,
        "tenant": job.tenant,
        "bucket_id": job.bucket_id,
        "prefix": job.prefix,
        "state": job.state.value,
        "cursor": job.cursor,
        "deleted": job.deleted,
        "failed": job.failed,
        "created_ms": in_ms(job.created_at),
        "owner": record.owner,
        "lease_ms": None if lease is None else in_ms(lease),
        "finished_ms": None if finished is None else in_ms(finished),
    }
