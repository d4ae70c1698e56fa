"""Listing on stores in memory: every key once, every common prefix once, bounded work."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import BucketNotFound, Invalid, InvalidCursor
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT, BlobKey, VersionId, new_id
from service.model.page import ListQuery
from service.model.version import ObjectFacts, Version
from service.usecases import list_objects as module
from service.usecases.list_objects import list_objects


@pytest.fixture
def scans(runtime, monkeypatch):
    """The limits of the scans that were made."""
    limits = []
    versions = runtime.metadata.versions
    scan = versions.scan

    async def counted(*args, **kwargs):
        limits.append(kwargs["limit"])
        return await scan(*args, **kwargs)

    monkeypatch.setattr(versions, "scan", counted)
    return limits


@pytest.fixture
def fill(runtime, monkeypatch):
    """Make the bucket hold exactly these keys."""
    held = {}

    async def scan(tenant, bucket, *, prefix, start, inclusive, limit):
        keys = sorted(
            key
            for key in held
            if key.startswith(prefix) and (key > start or (inclusive and key == start))
        )
        return [held[key] for key in keys[:limit]]

    monkeypatch.setattr(runtime.metadata.versions, "scan", scan)

    async def fill(*keys):
        bucket = await runtime.metadata.buckets.get(DEFAULT_TENANT, "films")
        now = bucket.created_at
        held.clear()
        for key in keys:
            held[key] = Version(
                VersionId(new_id()),
                DEFAULT_TENANT,
                bucket.id,
                key,
                BlobKey(key),
                1,
                {},
                ObjectFacts(),
                1,
                now,
                now,
            )
        return held

    return fill


async def walk(runtime, query, between=lambda: None):
    """All pages: keys, prefixes, number of pages."""
    keys, prefixes, pages = [], [], 0
    while True:
        page = await list_objects(runtime, DEFAULT_TENANT, "films", query)
        assert len(page.items) + len(page.prefixes) <= query.limit
        keys += [version.key for version in page.items]
        prefixes += page.prefixes
        pages += 1
        assert pages < 1000
        if page.next_cursor is None:
            return keys, prefixes, pages
        query = replace(query, cursor=page.next_cursor)
        between()


KEYS = st.sets(st.text("ab/\ud7ff\U0010ffff", min_size=1, max_size=6), max_size=40)


@given(
    keys=KEYS,
    prefix=st.text("ab/\U0010ffff", max_size=2),
    delimiter=st.sampled_from([None, "/", "ab", "\U0010ffff"]),
    limit=st.integers(1, 8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_a_walk_meets_each_key_and_each_common_prefix_once_in_order(
    runtime, fill, keys, prefix, delimiter, limit
):
    await fill(*keys)
    found, prefixes, _ = await walk(runtime, ListQuery(prefix, delimiter, limit))
    matching = sorted(key for key in keys if key.startswith(prefix))
    cut = {
        key: key[: at + len(delimiter)]
        for key in matching
        if delimiter and (at := key.find(delimiter, len(prefix))) >= 0
    }
    assert found == [key for key in matching if key not in cut]
    assert prefixes == sorted(set(cut.values()))


async def test_what_stays_is_met_once_while_others_come_and_go(runtime, fill):
    stay = [f"{n:03}/{m}" for n in range(20) for m in range(3)] + [f"x{n:03}" for n in range(50)]
    held = await fill(*stay)
    choose = random.Random(5)

    def churn():
        for _ in range(5):
            gone = choose.choice(sorted(held))
            if "tmp" in gone:
                del held[gone]
            name = f"{choose.randrange(20):03}/tmp{choose.randrange(100)}"
            held[name] = replace(held[stay[0]], key=name)
            name = f"x{choose.randrange(60):03}tmp"
            held[name] = replace(held[stay[0]], key=name)

    for query in (ListQuery(limit=7), ListQuery(delimiter="/", limit=7)):
        keys, prefixes, _ = await walk(runtime, query, churn)
        assert len(keys) == len(set(keys))
        assert len(prefixes) == len(set(prefixes))
        lasting = [key for key in keys if "tmp" not in key]
        assert lasting == [key for key in sorted(stay) if not query.delimiter or "/" not in key]
        assert not query.delimiter or prefixes == [f"{n:03}/" for n in range(20)]


async def test_a_large_folder_costs_a_seek_and_not_its_objects(runtime, fill, scans):
    await fill(*(f"{folder}/{n:05}" for folder in "abcdefgh" for n in range(3000)), "z")
    page = await list_objects(runtime, DEFAULT_TENANT, "films", ListQuery(delimiter="/", limit=100))
    assert page.prefixes == tuple(f"{folder}/" for folder in "abcdefgh")
    assert [version.key for version in page.items] == ["z"]
    assert page.next_cursor is None
    assert sum(scans) < 2000
    assert len(scans) <= 12


async def test_a_page_looks_at_no_more_than_its_share(runtime, fill, scans):
    await fill(*(f"{folder:03}/{n:03}" for folder in range(750) for n in range(20)))
    page = await list_objects(
        runtime, DEFAULT_TENANT, "films", ListQuery(delimiter="/", limit=1000)
    )
    assert sum(scans) <= module.MAX_EXAMINED
    assert page.next_cursor is not None
    _, prefixes, _ = await walk(runtime, ListQuery(delimiter="/", limit=1000))
    assert prefixes == [f"{n:03}/" for n in range(750)]


async def test_folders_of_middling_size_are_sought_one_by_one(runtime, fill, scans):
    await fill(*(f"{folder:03}/{n:03}" for folder in range(100) for n in range(100)))
    page = await list_objects(runtime, DEFAULT_TENANT, "films", ListQuery(delimiter="/"))
    assert len(page.prefixes) == 100
    assert sum(scans) < 4000


async def test_a_plain_page_asks_for_one_more_than_it_shows(runtime, fill, scans):
    await fill("a", "b", "c")
    page = await list_objects(runtime, DEFAULT_TENANT, "films", ListQuery(limit=3))
    assert [version.key for version in page.items] == ["a", "b", "c"]
    assert page.next_cursor is None
    assert scans == [4]


async def test_a_real_object_is_listed_until_it_is_deleted(runtime, put):
    await put(b"x", "a/b")
    page = await list_objects(runtime, DEFAULT_TENANT, "films", ListQuery())
    assert [version.key for version in page.items] == ["a/b"]


async def test_a_cursor_belongs_to_its_bucket_prefix_and_delimiter(runtime, fill):
    await fill("a", "b")
    await runtime.metadata.buckets.create(DEFAULT_TENANT, "other", BucketSettings())
    query = ListQuery(limit=1)
    page = await list_objects(runtime, DEFAULT_TENANT, "films", query)
    query = replace(query, cursor=page.next_cursor)
    for bucket, other in (
        ("other", query),
        ("films", replace(query, prefix="a")),
        ("films", replace(query, delimiter="/")),
        ("films", replace(query, cursor="x")),
        ("films", replace(query, cursor="")),
    ):
        with pytest.raises(InvalidCursor):
            await list_objects(runtime, DEFAULT_TENANT, bucket, other)


async def test_bad_limits_and_unknown_buckets_are_refused(runtime):
    for limit in (0, 1001, -1):
        with pytest.raises(Invalid):
            await list_objects(runtime, DEFAULT_TENANT, "films", ListQuery(limit=limit))
    with pytest.raises(BucketNotFound):
        await list_objects(runtime, DEFAULT_TENANT, "nowhere", ListQuery())
