"""Searches: what every engine promises (service/stores/version_port.py, VersionIndex.search)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from metadata_engines import DEADLINE_S, OTHER_TENANT, TENANT, TRICKY, TRICKY_FACTS, World

from service.model.bucket import BucketSettings
from service.model.ids import BucketId, new_id
from service.model.preconditions import Preconditions
from service.model.search import Found, Order, Position, Sort, Term, Wanted
from service.model.upload import Completion
from service.model.version import ObjectFacts, Version
from service.protocol.terms import metadata_term, tag_term, type_term, word_terms
from service.protocol.timestamps import milliseconds
from service.stores.search_plan import position_of
from tests.fakes.search import fits

ANY, BY_KEY = Wanted(), Sort()
SORTS = [Sort(order, descending) for order in Order for descending in (False, True)]
KEYS = ("a/1", "a/é", "b", "B", "z/\ud7ff", "z/\ue000", "z/\U0010ffff")


async def put(world: World, key: str, size_bytes: int = 1, **facts: object) -> Version:
    return await put_in(world, key, size_bytes, ObjectFacts(**facts))  # type: ignore[arg-type]


async def put_in(
    world: World, key: str, size_bytes: int, facts: ObjectFacts, **changes: object
) -> Version:
    upload = await world.opened(key, **changes)
    done = Completion(size_bytes, {}, facts, (), 0)
    await world.store.uploads.complete(upload.ref, done, 60)
    return (await world.commit(await world.read(upload))).version()


async def search(
    world: World,
    wanted: Wanted = ANY,
    sort: Sort = BY_KEY,
    after: Position | None = None,
    limit: int = 1000,
    max_examined: int = 10_000,
) -> Found:
    return await world.store.versions.search(
        *world.place, wanted, sort, after=after, limit=limit, max_examined=max_examined
    )


async def walk(
    world: World,
    wanted: Wanted,
    sort: Sort,
    *,
    limit: int,
    max_examined: int,
    between: Callable[[], Awaitable[None]] | None = None,
) -> list[Version]:
    """All pages, one after the other."""
    met: list[Version] = []
    after: Position | None = None
    while True:
        found = await search(world, wanted, sort, after, limit, max_examined)
        assert len(found.versions) <= limit
        met += found.versions
        if found.resume is None:
            return met
        assert after is None or (
            found.resume < after if sort.descending else found.resume > after
        ), "a step that does not get ahead"
        after = found.resume
        if between is not None:
            await between()


async def keys_of(world: World, *terms: Term, **wanted: object) -> list[str]:
    found = await search(world, Wanted(terms=terms, **wanted))  # type: ignore[arg-type]
    assert found.resume is None
    return [version.key for version in found.versions]


async def test_each_filter_finds_what_fits_and_nothing_else(world: World):
    await put(
        world,
        "Films/Château-1.mp4",
        100,
        content_type="Video/MP4; codecs=x",
        filename="Grüße an alle.mp4",
        user_metadata={"title": "東京都の夜", "year": "2026"},
        tags={"who": "family", "": "odd", "a=b": "c"},
    )
    await put(world, "notes.txt", 7, content_type="text/plain", tags={"who": "work"})
    film, notes = "Films/Château-1.mp4", "notes.txt"
    for terms, keys in (
        ([type_term("video/mp4")], [film]),
        ([type_term("video/*")], [film]),
        ([type_term("video/webm")], []),
        ([type_term("vid/*")], []),
        ([tag_term("who", "family")], [film]),
        ([tag_term("who", "fam")], []),
        ([tag_term("a=b", "c")], [film]),
        ([tag_term("a", "b=c")], []),
        ([tag_term("who", '{"$ne": null}')], []),
        ([tag_term("$ne", "1")], []),
        ([metadata_term("year", "2026")], [film]),
        ([metadata_term("title", "東京都の夜")], [film]),
        ([metadata_term("title", "東京都")], []),
        (word_terms("CHATEAU fil"), [film]),
        (word_terms("gruss 1"), [film]),
        (word_terms("京都"), [film]),
        (word_terms("都東"), []),
        (word_terms("teau"), []),
        (word_terms("2026"), [film]),
        (word_terms("year"), []),
        (word_terms("chateau notes"), []),
        (word_terms("m"), [film]),
        (word_terms("t"), [notes]),
        ([tag_term("who", "work"), *word_terms("txt")], [notes]),
        ([tag_term("who", "work"), tag_term("who", "family")], []),
    ):
        assert await keys_of(world, *terms) == keys, terms
    assert await keys_of(world, size_from=7, size_until=8) == [notes]
    assert await keys_of(world, size_from=8) == [film]
    assert await keys_of(world, size_until=100) == [notes]
    assert await keys_of(world, prefix="n") == [notes]
    assert await keys_of(world, *word_terms("f"), prefix="n") == []


async def test_two_words_are_not_found_by_one_condition_between_them(world: World):
    """`{$gte, $lt}` on a list may be fulfilled by two elements of it."""
    await put(world, "aaa zzz")
    assert await keys_of(world, *word_terms("m")) == []
    assert await keys_of(world, *word_terms("zz aa")) == ["aaa zzz"]


async def test_time_is_a_half_open_range(world: World):
    first = await put(world, "first")
    await world.pass_time(0.01)
    second = await put(world, "second")
    at, then = milliseconds(first.created_at), milliseconds(second.created_at)
    assert await keys_of(world, since_ms=at, until_ms=then) == ["first"]
    assert await keys_of(world, since_ms=at + 1) == ["second"]
    assert await keys_of(world, until_ms=then + 1) == ["first", "second"]
    assert await keys_of(world, until_ms=at) == []


async def test_only_the_latest_versions_of_the_bucket_are_found(world: World):
    bucket = await world.store.buckets.create(TENANT, "music", BucketSettings())
    foreign = await world.store.buckets.create(OTHER_TENANT, "music", BucketSettings())
    await put_in(world, "word", 1, ObjectFacts(), bucket_id=bucket.id)
    await put_in(world, "word", 1, ObjectFacts(), tenant=OTHER_TENANT, bucket_id=foreign.id)
    await put(world, "word", tags={"t": "old"})
    new = await put(world, "word", tags={"t": "new"})
    await put(world, "word too")
    await world.delete("word too")
    for sort in SORTS:
        assert (await search(world, Wanted(terms=tuple(word_terms("wor"))), sort)).versions == (
            new,
        )
    assert await keys_of(world, tag_term("t", "old")) == []
    assert await keys_of(world, tag_term("t", "new")) == ["word"]
    empty = await world.store.versions.search(
        TENANT, BucketId(new_id()), Wanted(), Sort(), after=None, limit=10, max_examined=100
    )
    assert empty == Found((), None)


async def test_tricky_strings_are_data(world: World):
    await put_in(world, TRICKY, 1, TRICKY_FACTS)
    for term in (
        tag_term("$eq", "$b"),
        metadata_term("$where", "$a"),
        metadata_term("a.b", "{$ne: null}"),
        metadata_term("", ""),
        *word_terms("quotes dots ne"),
    ):
        assert await keys_of(world, term) == [TRICKY]
    for term in (
        metadata_term("a.b", '{"$ne": null}'),
        tag_term("a\0b", "\0"),
        tag_term("", "$" * 5000),
        *word_terms("\U0010ffff \ud7ff 𝕏"),
    ):
        assert await keys_of(world, term) == []


async def some_objects(world: World, number: int, choose: random.Random) -> list[Version]:
    made = []
    for n in range(number):
        made.append(
            await put(
                world,
                f"{choose.choice(KEYS)}/{n}",
                choose.choice((0, 1, 1, 5, 1 << 42)),
                content_type=choose.choice(("video/mp4", "text/plain")),
                tags={"half": str(n % 2), "rare": str(n // 5)},
                user_metadata={"say": choose.choice(("one two", "two", "onerous"))},
            )
        )
        if choose.random() < 0.5:
            await world.pass_time(0)
    return made


def some_search(choose: random.Random, made: list[Version]) -> Wanted:
    terms = [
        tag_term("half", "1"),
        tag_term("rare", "2"),
        metadata_term("say", "two"),
        type_term("video/*"),
        *word_terms("one"),
        *word_terms("two"),
    ]
    wanted = Wanted(terms=tuple(choose.sample(terms, choose.choice((0, 1, 1, 2, 3)))))
    if choose.random() < 0.2:
        wanted = replace(wanted, prefix=choose.choice(("z/", "a", "b/", "z/\U0010ffff")))
    if choose.random() < 0.2:
        wanted = replace(wanted, size_from=choose.randrange(3), size_until=choose.choice((None, 5)))
    if choose.random() < 0.2:
        at = milliseconds(choose.choice(made).created_at)
        wanted = replace(wanted, since_ms=at, until_ms=choose.choice((None, at + 20)))
    return wanted


@pytest.mark.timeout(120)
async def test_any_search_finds_in_any_order_by_any_pages_what_looking_at_all_finds(world: World):
    choose = random.Random(11)
    made = await some_objects(world, 40, choose)
    for _ in range(60):
        wanted, sort = some_search(choose, made), choose.choice(SORTS)
        fitting = [version for version in made if fits(version, wanted)]
        fitting.sort(key=lambda v: position_of(v, sort.order), reverse=sort.descending)
        limit, most = choose.choice((1, 3, 7, 100)), choose.choice((5, 20, 50, 200, 10_000))
        found = await walk(world, wanted, sort, limit=limit, max_examined=most)
        assert found == fitting, (wanted, sort, limit, most)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sort", SORTS, ids=str)
async def test_what_stays_is_met_once_while_others_come_and_go(world: World, sort: Sort):
    choose = random.Random(5)
    staying = await some_objects(world, 24, choose)
    passing: list[str] = []

    async def churn() -> None:
        if len(passing) == 12:
            return
        for n in range(2):
            key = f"{choose.choice(KEYS)}/{n}x{len(passing)}"
            passing.append(key)
            await put(
                world, key, choose.choice((0, 1, 5)), tags={"half": "1"}, content_type="video/mp4"
            )
        await world.delete(choose.choice(passing))

    wanted = Wanted(terms=(tag_term("half", "1"), type_term("video/*")))
    met = await walk(world, wanted, sort, limit=3, max_examined=6, between=churn)
    assert len(met) == len({version.id for version in met})
    ids = {version.id for version in staying}
    fitting = [version for version in staying if fits(version, wanted)]
    fitting.sort(key=lambda v: position_of(v, sort.order), reverse=sort.descending)
    assert [version for version in met if version.id in ids] == fitting


async def test_a_page_looks_at_its_share_and_no_more(world: World):
    """Each filter fits half of all and both fit none: no step can know that, each ends early."""
    for n in range(30):
        await put(world, f"{n:02}", tags={"half": str(n % 2), "other half": str(n % 2)})
    wanted = Wanted(terms=(tag_term("half", "1"), tag_term("other half", "0")))
    steps, after = 0, None
    while True:
        found = await search(world, wanted, after=after, limit=2, max_examined=10)
        assert not found.versions
        steps, after = steps + 1, found.resume
        if after is None:
            break
    assert 3 <= steps <= 15


async def test_a_search_goes_on_where_it_was_even_if_that_object_is_gone(world: World):
    for key in "abcde":
        await put(world, key, tags={"t": "1"})
    wanted = Wanted(terms=(tag_term("t", "1"),))
    found = await search(world, wanted, limit=2)
    assert [version.key for version in found.versions] == ["a", "b"]
    await world.delete("b")
    found = await search(world, wanted, after=found.resume, limit=2)
    assert [version.key for version in found.versions] == ["c", "d"]


async def test_an_overwrite_is_found_by_its_own_facts(world: World):
    await put(world, "k", tags={"old": "1"})
    await world.delete("k")
    await put(world, "k", tags={"new": "1"}, user_metadata={"title": "fresh"})
    assert await keys_of(world, tag_term("old", "1")) == []
    assert await keys_of(world, tag_term("new", "1"), *word_terms("fres")) == ["k"]


async def test_changed_facts_are_found_at_once_and_the_old_ones_no_more(world: World):
    old = ObjectFacts(content_type="text/plain", tags={"t": "old"}, filename="before.txt")
    new = ObjectFacts(content_type="video/mp4", tags={"t": "new"}, filename="after.txt")
    await put_in(world, "k", 1, old)
    await world.store.versions.change_facts(
        *world.place, "k", Preconditions(), lambda _: new, deadline_s=DEADLINE_S
    )
    for term in (tag_term("t", "old"), type_term("text/plain"), *word_terms("before")):
        assert await keys_of(world, term) == []
    for term in (tag_term("t", "new"), type_term("video/*"), *word_terms("after")):
        assert await keys_of(world, term) == ["k"]


async def test_what_is_kept_is_found_only_when_the_key_names_it_again(world: World):
    kept = await world.keeping()
    first = await put(kept, "k", tags={"t": "first"})
    second = await put(kept, "k", tags={"t": "second"})
    assert await keys_of(kept, tag_term("t", "first")) == []
    assert await keys_of(kept, tag_term("t", "second")) == ["k"]
    marker = await kept.delete()
    for sort in SORTS:
        assert (await search(kept, sort=sort)).versions == ()
    await kept.delete_version(marker.id)
    assert await keys_of(kept, tag_term("t", "second")) == ["k"]
    await kept.delete_version(second.id)
    found = await search(kept, Wanted(terms=(tag_term("t", "first"),)))
    assert [version.id for version in found.versions] == [first.id]
