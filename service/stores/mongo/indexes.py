"""Every index and every query shape: the one table that says which query uses which index.

Keys stand in equality–sort–range order. A shape names the fields of a filter with how they are
compared (`=` also stands for a list of values), the sort, and the index; a test records every
command that the stores send, finds its shape here and holds it against `explain`. A query that is
not in the table is a bug. (Migrations and a rebuild go through whole collections, without any.)

Partial and sparse filters are such that a query states them literally: any planner can see that
the index covers it. Fields that mean "there is work" (`lease_until`, `clean_at`) exist only while
there is, so their sparse indexes hold only work.
"""

from __future__ import annotations

from pymongo.errors import OperationFailure

from service.stores.mongo.driver import Database
from service.stores.mongo.index_rows import Index, Shape
from service.stores.mongo.search_indexes import SEARCH_INDEXES, SEARCH_SHAPES

BY_ID = "_id_"
NAMESPACE_EXISTS = 48
COLLECTIONS = (
    "uploads",
    "versions",
    "buckets",
    "api_keys",
    "leases",
    "jobs",
    "events",
    "strays",
    "progress",
    "publishers",
    "meta",
)

HELD = ("tenant", "idempotency.principal", "idempotency.key", "idempotency.ordinal")

INDEXES = (
    # One current entry of a key, be it an object or the tombstone of a delete: also what makes
    # two commits of a new key collide.
    Index(
        "versions",
        "latest",
        ("tenant", "bucket_id", "key"),
        unique=True,
        partial={"latest": True},
    ),
    Index(
        "versions",
        "listing",
        ("tenant", "bucket_id", "kind", "latest", "key"),
        partial={"latest": True},
    ),
    *SEARCH_INDEXES,
    Index("versions", "history", ("tenant", "bucket_id", "live", "key", "seq")),
    Index("versions", "dead", ("kind", "latest", "dead_since"), partial={"latest": False}),
    Index("versions", "tombstones", ("kind", "dead_since"), partial={"kind": "tombstone"}),
    Index("versions", "blobs", ("kind", "blob_key"), partial={"kind": "object"}),
    Index("uploads", "idempotency", HELD, unique=True, partial={"idempotency.held": True}),
    Index("uploads", "lease", ("lease_until",), sparse=True),
    Index("uploads", "clean", ("clean_at",), sparse=True),
    Index("uploads", "bucket", ("tenant", "bucket_id", "state")),
    Index("uploads", "settled", ("settled", "committed_at"), partial={"settled": True}),
    Index("uploads", "state", ("state",)),
    Index("uploads", "keys", ("keys.blob_key",)),
    Index(
        "uploads",
        "listed",
        ("tenant", "resumable.principal", "listed", "_id"),
        partial={"listed": True},
    ),
    Index("uploads", "spans", ("progress.span.opened_at",), sparse=True),
    Index("buckets", "name", ("tenant", "name"), unique=True),
    Index("api_keys", "tenant", ("tenant", "_id")),
    Index("jobs", "due", ("lease_until",), sparse=True),
    Index("jobs", "finished", ("finished_at",), sparse=True),
    Index("strays", "found", ("found_at",)),
    Index("strays", "seen", ("seen_at",)),
    Index("events", "pending", ("pending", "seq"), partial={"pending": True}),
    Index("events", "published", ("published_at",), sparse=True),
)

_KEY = {"tenant": "=", "bucket_id": "=", "key": "="}
_STEP = {"_id": "=", "epoch": "=", "owner": "=", "state": "="}

SHAPES = (
    Shape("versions", "the current entry of a key", _KEY | {"latest": "="}, "latest"),
    Shape("versions", "one version", _KEY | {"_id": "=", "kind": "="}, BY_ID),
    Shape("versions", "one that counts", _KEY | {"_id": "=", "live": "="}, BY_ID),
    Shape("versions", "end or promote", {"_id": "=", "live": "="}, BY_ID),
    Shape("versions", "history", _KEY | {"live": "="}, "history", sort=("seq",)),
    Shape("versions", "more of it", _KEY | {"live": "=", "seq": "<"}, "history", sort=("seq",)),
    Shape("versions", "demote or replace", {"_id": "=", "latest": "="}, BY_ID),
    Shape(
        "versions",
        "a page of a listing",
        {"tenant": "=", "bucket_id": "=", "kind": "=", "latest": "=", "key": ">"},
        "listing",
        sort=("key",),
    ),
    *SEARCH_SHAPES,
    Shape(
        "versions",
        "whether a bucket has content",
        {"tenant": "=", "bucket_id": "=", "live": "="},
        "history",
    ),
    Shape(
        "versions",
        "dead for long enough",
        {"kind": "=", "latest": "=", "dead_since": "<"},
        "dead",
        sort=("dead_since",),
    ),
    Shape(
        "versions",
        "forget a dead one",
        {"_id": "=", "kind": "=", "latest": "=", "live": "="},
        BY_ID,
    ),
    Shape(
        "versions",
        "old tombstones",
        {"kind": "=", "dead_since": "<"},
        "tombstones",
        sort=("dead_since",),
    ),
    Shape("versions", "forget tombstones", {"_id": "=", "kind": "="}, BY_ID),
    Shape(
        "versions",
        "a walk by blob key",
        {"kind": "=", "blob_key": ">"},
        "blobs",
        sort=("blob_key",),
    ),
    Shape("versions", "by blob keys", {"kind": "=", "blob_key": "="}, "blobs"),
    Shape(
        "uploads",
        "the holder of an idempotency key",
        dict.fromkeys(HELD, "=") | {"idempotency.held": "="},
        "idempotency",
    ),
    Shape("uploads", "by id", {"_id": "="}, BY_ID),
    Shape("uploads", "admit", {"_id": "=", "absent": "="}, BY_ID),
    Shape("uploads", "a step", _STEP, BY_ID),
    Shape("uploads", "save a multipart's id, use a key", _STEP | {"keys.blob_key": "="}, BY_ID),
    Shape(
        "uploads",
        "claim",
        {
            "_id": "=",
            "state": "=",
            "progress.offset": "=",
            "progress.closed": "=",
            "lease_until": ">",
        },
        BY_ID,
    ),
    Shape(
        "uploads",
        "those of a principal that may go on",
        {"tenant": "=", "resumable.principal": "=", "listed": "=", "_id": ">"},
        "listed",
        sort=("_id",),
    ),
    Shape(
        "uploads",
        "spans that grow old",
        {"progress.span.opened_at": "<"},
        "spans",
        sort=("progress.span.opened_at",),
    ),
    Shape("uploads", "commit a whole blob", _STEP | {"blob_key": "="}, BY_ID),
    Shape("uploads", "fence, forget, clean", {"_id": "=", "state": "="}, BY_ID),
    Shape("uploads", "take over", {"_id": "=", "state": "=", "lease_until": "<"}, BY_ID),
    Shape("uploads", "expired leases", {"lease_until": "<"}, "lease", sort=("lease_until",)),
    Shape("uploads", "due for cleaning", {"clean_at": "<"}, "clean", sort=("clean_at",)),
    Shape(
        "uploads",
        "undoable in a bucket",
        {"tenant": "=", "bucket_id": "=", "state": "="},
        "bucket",
    ),
    Shape(
        "uploads",
        "settled long ago",
        {"settled": "=", "committed_at": "<"},
        "settled",
        sort=("committed_at",),
    ),
    Shape("uploads", "forget settled ones", {"_id": "=", "settled": "="}, BY_ID),
    Shape("uploads", "count of a state", {"state": "="}, "state"),
    Shape("uploads", "by blob keys", {"keys.blob_key": "="}, "keys"),
    Shape("buckets", "insert", {"_id": "=", "absent": "="}, BY_ID),
    Shape("buckets", "by name", {"tenant": "=", "name": "="}, "name"),
    Shape("buckets", "list", {"tenant": "=", "name": ">"}, "name", sort=("name",)),
    Shape("buckets", "by id", {"_id": "=", "tenant": "="}, BY_ID),
    Shape("buckets", "enter", {"_id": "=", "tenant": "=", "state": "="}, BY_ID),
    Shape("buckets", "end a deletion", {"_id": "=", "tenant": "=", "deletion": "="}, BY_ID),
    Shape(
        "buckets",
        "change of settings",
        {"_id": "=", "tenant": "=", "state": "=", "revision": "="},
        BY_ID,
    ),
    Shape("api_keys", "by id", {"_id": "="}, BY_ID),
    Shape("api_keys", "revoke", {"_id": "=", "tenant": "="}, BY_ID),
    Shape("api_keys", "list", {"tenant": "=", "_id": ">"}, "tenant", sort=("_id",)),
    Shape("leases", "extend or release", {"_id": "=", "owner": "="}, BY_ID),
    Shape("leases", "take one that ran out", {"_id": "=", "lease_until": "<"}, BY_ID),
    Shape("jobs", "insert", {"_id": "=", "absent": "="}, BY_ID),
    Shape("jobs", "by id", {"_id": "=", "tenant": "=", "bucket_id": "="}, BY_ID),
    Shape("jobs", "nobody works at", {"lease_until": "<"}, "due", sort=("lease_until",)),
    Shape("jobs", "take", {"_id": "=", "state": "=", "lease_until": "<"}, BY_ID),
    Shape("jobs", "advance or finish", {"_id": "=", "owner": "=", "state": "="}, BY_ID),
    Shape(
        "jobs",
        "cancel",
        {"_id": "=", "tenant": "=", "bucket_id": "=", "state": "="},
        BY_ID,
    ),
    Shape("jobs", "finished long ago", {"finished_at": "<"}, "finished"),
    Shape("events", "by id", {"_id": "="}, BY_ID),
    Shape("strays", "by id", {"_id": "="}, BY_ID),
    Shape("strays", "found long ago", {"found_at": "<"}, "found", sort=("found_at",)),
    Shape("strays", "not seen any more", {"seen_at": "<"}, "seen"),
    Shape("progress", "by id", {"_id": "="}, BY_ID),
    Shape("events", "the next to publish", {"pending": "="}, "pending", sort=("seq",)),
    Shape("events", "how many wait", {"pending": "="}, "pending"),
    Shape("events", "mark as published", {"_id": "=", "pending": "="}, BY_ID),
    Shape(
        "events", "published long ago", {"published_at": "<"}, "published", sort=("published_at",)
    ),
    Shape("publishers", "by id", {"_id": "="}, BY_ID),
    Shape("publishers", "extend or step down", {"_id": "=", "owner": "="}, BY_ID),
    Shape("publishers", "take over", {"_id": "=", "lease_until": "<"}, BY_ID),
    Shape("publishers", "claim", {"_id": "=", "owner": "=", "epoch": "="}, BY_ID),
    Shape("publishers", "mark", {"_id": "=", "owner": "=", "epoch": "=", "position": "="}, BY_ID),
    Shape("meta", "by id", {"_id": "="}, BY_ID),
)


async def ensure_indexes(database: Database) -> None:
    """Make the collections and indexes that are missing; harmless where they are all there.

    A transaction cannot be relied on to make a collection, hence all of them exist from the start.
    """
    present = set(await database.list_collection_names())
    for name in COLLECTIONS:
        if name not in present:
            await _make(database, name)
    for collection in COLLECTIONS:
        models = [index.model() for index in INDEXES if index.collection == collection]
        if models:
            await database[collection].create_indexes(models)


async def _make(database: Database, name: str) -> None:
    """Another replica that starts at the same time may come first."""
    try:
        await database.create_collection(name, check_exists=False)
    except OperationFailure as exc:
        if exc.code != NAMESPACE_EXISTS:
            raise
