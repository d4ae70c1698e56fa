"""Every query that the stores send is in the table of indexes.py, and uses the index named there.

The whole life of the stores is run under a recorder; each recorded filter must have its row, each
row must have been met, and the server's own plan must use the row's index.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

import pymongo
import pytest
from metadata_engines import OTHER_TENANT, TENANT, World, completion, fresh_key, named
from pymongo.monitoring import CommandListener

from service.errors import Conflict, Fenced, PreconditionFailed
from service.model.api_key import ApiKey, Scope
from service.model.audit import Stray
from service.model.bucket import BucketSettings
from service.model.ids import JobId, KeyId, MultipartId, new_id
from service.model.preconditions import Preconditions
from service.model.resumable import Progress, ResumableTerms, Span
from service.model.search import Order, Sort, Wanted
from service.protocol.terms import metadata_term, tag_term, type_term, word_terms
from service.settings import Metadata
from service.stores.mongo.indexes import BY_ID, COLLECTIONS, INDEXES, SHAPES, Shape
from service.stores.mongo.metadata import MongoMetadata

LOWER, UPPER = {"$gt", "$gte"}, {"$lt", "$lte"}


@dataclass
class Query:
    """One filter that went to the server. concern: what the command says of its durability."""

    command: str
    collection: str
    filter: dict[str, Any]
    sort: tuple[str, ...]

    def shape(self) -> tuple[str, frozenset[tuple[str, str]], tuple[str, ...]]:
        marks = frozenset((name, mark(value)) for name, value in self.filter.items())
        return self.collection, marks, self.sort


def mark(value: Any) -> str:
    if not isinstance(value, dict):
        return "="
    operators = set(value)
    if operators <= {"$in"}:
        return "="
    if operators == {"$elemMatch"}:
        return "^"
    if operators <= UPPER:
        return "<"
    if operators <= LOWER | UPPER:
        return ">"
    raise AssertionError(f"no such comparison is foreseen: {value}")


def shape_of(row: Shape) -> tuple[str, frozenset[tuple[str, str]], tuple[str, ...]]:
    return row.collection, frozenset(row.filter.items()), row.sort


@dataclass
class Recorder(CommandListener):
    commands: list[dict[str, Any]] = field(default_factory=list)

    def started(self, event: Any) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: Any) -> None:
        return

    def failed(self, event: Any) -> None:
        return

    def queries(self) -> list[Query]:
        return [query for command in self.commands for query in queries_in(command)]


def queries_in(command: dict[str, Any]) -> list[Query]:
    name = next(iter(command))
    collection = command[name]
    if collection not in COLLECTIONS:
        return []
    match name:
        case "find":
            found = [(command.get("filter", {}), tuple(command.get("sort", ())))]
        case "findAndModify":
            found = [(command["query"], ())]
        case "update":
            found = [(update["q"], ()) for update in command["updates"]]
        case "delete":
            found = [(delete["q"], ()) for delete in command["deletes"]]
        case "aggregate":
            first, second = command["pipeline"][:2]
            found = [(first["$match"], tuple(second.get("$sort", ())))]
        case "insert" | "create" | "createIndexes" | "getMore":
            found = []
        case _:
            raise AssertionError(f"no such command is foreseen: {name}")
    return [Query(name, collection, dict(filter), sort) for filter, sort in found]


async def live(world: World) -> None:
    """Call every method of every store, on every branch that sends another query."""
    store, ledger, versions = world.store, world.store.uploads, world.store.versions
    retried = await world.opened("retried", idempotency=named())
    await world.opened("retried", idempotency=named())
    await ledger.begin_undo(retried.ref, 60)
    await ledger.finish_undo(retried.ref, 0)
    upload = await world.opened()
    await ledger.renew(upload.ref, 60)
    key = fresh_key()
    await ledger.switch_key(upload.ref, key)
    await ledger.save_multipart(upload.ref, key, MultipartId("m"))
    await ledger.complete(upload.ref, completion(), 60)
    await world.commit(await world.read(upload))
    await world.commit(await world.opened())
    await world.put()
    await world.delete()
    await world.put()
    await world.opened(lease_s=0.01)
    await world.opened("fenced")
    await world.pass_time(0.02)
    for late in await ledger.expired(limit=10):
        await ledger.take_over(late.ref.id, "sweeper", 60)
    for mine in await ledger.undoable_in(*world.place, limit=10):
        await ledger.fence(mine.ref.id, "deleter", 60)
    for due in await ledger.due(limit=10):
        await ledger.cleaned(due.ref.id, look_again_s=60)
        await ledger.cleaned(due.ref.id, look_again_s=None)
        await ledger.forget(due.ref.id)
    await ledger.forget_committed(older_than_s=0, limit=10)
    await ledger.count()
    await world.keys("k")
    await world.keys("", "k", inclusive=False)
    await search(world, {}, *FILTERS)
    await versions.current_seq(*world.place, "k")
    latest = await world.latest()
    assert latest is not None
    await versions.get(*world.place, "k", latest.id)
    await versions.change_facts(
        *world.place, "k", Preconditions(), lambda facts: replace(facts, tags={}), deadline_s=5
    )
    await versions.has_content(*world.place)
    for version in await versions.dead(older_than_s=0, limit=10):
        await versions.forget_dead(version.id)
    await world.delete()
    await world.pass_time(0.02)
    assert await versions.forget_tombstones(older_than_s=0, limit=10)
    await store.buckets.get(TENANT, "films")
    await store.buckets.list(TENANT, after="", limit=10)
    await store.buckets.update(*world.place, BucketSettings(), revision=1)
    with pytest.raises(PreconditionFailed):
        await store.buckets.update(*world.place, BucketSettings(), revision=1)
    await store.buckets.revert_delete(*world.place, await store.buckets.begin_delete(*world.place))
    await store.buckets.remove(*world.place, "another deletion")
    now = await store.now()
    api_key = ApiKey(KeyId(new_id()), TENANT, "n", b"\0" * 32, frozenset(Scope), now)
    await store.keys.create(api_key)
    with pytest.raises(Conflict):
        await store.keys.create(api_key)
    await store.keys.get(api_key.id)
    await store.keys.list(TENANT, after="", limit=10)
    await store.keys.revoke(OTHER_TENANT, api_key.id)
    await store.leases.acquire("sweep", "a", 60)
    await store.leases.acquire("sweep", "b", 60)
    await store.leases.release("sweep", "a")
    await work_at_jobs(world)
    await keep_versions(world)
    await audit(world)
    await publish(world)
    await store.ping()
    await store.migrate()


async def work_at_jobs(world: World) -> None:
    jobs = world.store.jobs
    job = await jobs.create(JobId(new_id()), *world.place, "a/")
    await world.pass_time(0.01)
    await jobs.take("a", 60)
    await jobs.advance(job, "a", 60)
    await jobs.get(*world.place, job.id)
    await jobs.cancel(*world.place, job.id)
    await jobs.forget_finished(older_than_s=60)


FILTERS: tuple[dict[str, Any], ...] = (
    {"prefix": "k"},
    {"terms": (tag_term("$eq", "$b"),)},
    {"terms": (metadata_term("$where", "$a"),)},
    {"terms": (type_term("video/*"),)},
    {"terms": tuple(word_terms("k"))},
    {"size_from": 1},
    {"since_ms": 1},
)


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    terms = one.get("terms", ()) + other.get("terms", ())
    return {**one, **other, "terms": terms}


async def search(world: World, *filters: dict[str, Any]) -> None:
    """In every order, with a bound that lets rare things be gathered and one that does not."""
    for wanted, order, most in product(filters, Order, (10_000, 1)):
        for descending in (False, True):
            found = await world.store.versions.search(
                *world.place,
                Wanted(**wanted),
                Sort(order, descending),
                after=None,
                limit=1,
                max_examined=most,
            )
            assert found.versions


async def keep_versions(world: World) -> None:
    kept = await world.keeping()
    first, second = await kept.put(), await kept.put()
    marker = await kept.delete()
    await kept.history(before_seq=marker.seq)
    await kept.delete_version(marker.id)
    await kept.delete_version(first.id)
    await kept.delete_version(second.id)


async def go_on(world: World) -> None:
    """A resumable upload, claimed and listed."""
    ledger = world.store.resumables
    intent = world.intent(resumable=ResumableTerms("$who"))
    upload = await world.store.uploads.admit(intent, "o", 60)
    claimed = await ledger.claim(upload.ref.id, "next", 0)
    assert claimed is not None
    await ledger.note_key(claimed.ref, key := fresh_key())
    await ledger.use_key(claimed.ref, key)
    span = Span(key, MultipartId("m"), await world.store.now())
    await ledger.save(claimed.ref, Progress(span=span))
    await ledger.retire(claimed.ref, [intent.blob_key], 60)
    assert await ledger.unfinished(TENANT, "$who", after="", limit=9)
    assert await ledger.aging(opened_before_s=-9, limit=9)


async def audit(world: World) -> None:
    audits, version = world.store.audits, await world.put("audited")
    await audits.claims(after="", limit=10)
    await audits.claims_on([version.blob_key])
    await audits.owed([version.blob_key])
    await audits.mark_damaged(version.id, damaged=True)
    strays = [Stray(fresh_key()), Stray(fresh_key(), MultipartId("m"))]
    await audits.quarantine(strays)
    await audits.quarantined(found_before_s=0, limit=10)
    await audits.release(strays[:1])
    await audits.release_unseen(await world.store.now())
    await audits.save_progress("scrubber", await audits.progress("scrubber"))


async def publish(world: World) -> None:
    outbox = world.store.outbox
    publisher = await outbox.lead("a", 60)
    assert publisher is not None
    assert await outbox.lead("b", 60) is None
    await outbox.published(publisher, await outbox.claim(publisher, limit=100))
    assert await outbox.forget_published(older_than_s=0, limit=3)
    await outbox.backlog()
    await outbox.step_down("a")


@pytest.fixture
async def recorded_world(mongo_settings: Metadata) -> AsyncIterator[tuple[World, Recorder]]:
    async def pass_time(seconds: float) -> None:
        await asyncio.sleep(seconds + 0.005)

    recorder = Recorder()
    store = MongoMetadata(mongo_settings, [recorder])
    await store.start()
    try:
        yield await World(store, pass_time).open(), recorder
    finally:
        await store.close()


@pytest.fixture
async def recorder(recorded_world: tuple[World, Recorder]) -> Recorder:
    """What a whole life sends; the documents it leaves stay in the database."""
    world, recorder = recorded_world
    await live(world)
    await go_on(world)
    with pytest.raises(Fenced):
        await world.store.uploads.commit((await world.opened()).ref, deadline_s=1)
    await world.store.versions._database["events"].find_one({"_id": "none"})  # a read-back
    return recorder


@pytest.mark.timeout(60)
async def test_every_query_has_its_row_and_every_row_its_query(recorder: Recorder):
    rows = {shape_of(row) for row in SHAPES}
    assert len(rows) == len(SHAPES)
    met = {query.shape() for query in recorder.queries()}
    assert met - rows == set()
    assert rows - met == set()
    assert {row.index for row in SHAPES} == {BY_ID} | {index.name for index in INDEXES}


@pytest.mark.timeout(60)
async def test_every_query_uses_the_index_of_its_row(recorder: Recorder, mongo_settings: Metadata):
    rows = {shape_of(row): row for row in SHAPES}
    with pymongo.MongoClient(mongo_settings.url.get_secret_value()) as client:
        database = client[mongo_settings.database]
        for query in {query.shape(): query for query in recorder.queries()}.values():
            row = rows[query.shape()]
            assert used_index(database, query) == row.index, row


@pytest.mark.timeout(60)
async def test_every_pair_of_filters_in_every_order_is_read_by_an_index_of_the_table(
    recorded_world: tuple[World, Recorder], mongo_settings: Metadata
):
    world, recorder = recorded_world
    for key in ("k", "k too", "k three"):
        await world.put(key)
    recorder.commands.clear()
    await search(world, *(both(one, other) for one, other in combinations(FILTERS, 2)))
    rows = {shape_of(row): row for row in SHAPES}
    queries = {query.shape(): query for query in recorder.queries()}
    assert set(queries) <= set(rows)
    with pymongo.MongoClient(mongo_settings.url.get_secret_value()) as client:
        database = client[mongo_settings.database]
        used = {rows[shape].query: used_index(database, query) for shape, query in queries.items()}
    assert used == {rows[shape].query: rows[shape].index for shape in queries}


def used_index(database: Any, query: Query) -> str | None:
    """The index of the winning plan. A filter that names one `_id` is a lookup on any server; the
    embedded one explains it as such only without the conditions beside it. It uses no index for
    `$elemMatch` either, but would for the same bounds outside."""
    filter = {
        name: value["$elemMatch"] if mark(value) == "^" else value
        for name, value in query.filter.items()
    }
    if "_id" in filter and mark(filter["_id"]) == "=":
        filter = {"_id": filter["_id"]}
    command = {"find": query.collection, "filter": filter, "limit": 5}
    if query.sort:
        command["sort"] = dict.fromkeys(query.sort, 1)
    explained = database.command("explain", command, verbosity="queryPlanner")
    return index_in(explained["queryPlanner"]["winningPlan"])


def index_in(plan: dict[str, Any]) -> str | None:
    plan = plan.get("queryPlan", plan)
    if plan["stage"] in ("IDHACK", "EXPRESS_IXSCAN"):
        return plan.get("indexName", BY_ID)
    assert plan["stage"] != "COLLSCAN"
    stages = [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", [])
    for stage in stages:
        return index_in(stage)
    return plan.get("indexName")


@pytest.mark.timeout(60)
async def test_every_write_is_majority_and_journalled_and_every_read_is_majority(
    recorder: Recorder,
):
    for command in recorder.commands:
        name = next(iter(command))
        if command[name] not in COLLECTIONS and name != "commitTransaction":
            continue
        if (name, command[name]) == ("find", "meta"):
            continue  # the schema's version is read as its writer left it
        if "autocommit" in command and name != "commitTransaction":
            # Inside a transaction its first command carries the read concern, its last the write's.
            if command.get("startTransaction"):
                assert command["readConcern"]["level"] == "snapshot"
        elif name in ("find", "aggregate"):
            assert command["readConcern"]["level"] == "majority"
        elif name != "getMore":
            assert command["writeConcern"] == {"w": "majority", "j": True}, name


@pytest.mark.parametrize("row", [row for row in SHAPES if row.index != BY_ID], ids=str)
def test_an_index_has_its_equalities_first_then_the_sort_then_the_range(row: Shape):
    index = next(i for i in INDEXES if (i.collection, i.name) == (row.collection, row.index))
    ranks = {"=": 0, "<": 2, ">": 2, "^": 2}
    ranked = [
        1 if key in row.sort else ranks[row.filter[key]] for key in index.keys if key in row.filter
    ]
    assert ranked == sorted(ranked)
    assert index.keys[: len(ranked)] == tuple(key for key in index.keys if key in row.filter)
    assert set(row.filter) - set(index.keys) <= set(index.partial or {})
