"""Search, over a real socket: what each condition finds, any combination of them, bad input."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from service.model.api_key import Scope
from service.model.ids import DEFAULT_TENANT, new_id
from service.model.version import ObjectFacts, Version
from service.usecases.put_object import PutRequest, put_object
from service.web.json import timestamp
from tests.web.serving import Service

OBJECTS = "/v1/buckets/films/objects"


async def store(
    service: Service, key: str, size: int = 1, bucket: str = "films", **facts: Any
) -> Version:
    async def body():
        yield b"x" * size

    request = PutRequest(DEFAULT_TENANT, bucket, key, ObjectFacts(**facts))
    return (await put_object(service.runtime, request, body())).version


async def make_bucket(service: Service, name: str) -> None:
    async with service.fetch("PUT", f"/v1/buckets/{name}") as response:
        assert response.status == 201


async def get_page(service: Service, bucket: str = "films", status: int = 200, **query: Any) -> Any:
    params = {name.replace("__", "."): value for name, value in query.items()}
    return await fetch(service, f"/v1/buckets/{bucket}/objects?{urlencode(params)}", status)


async def fetch(service: Service, url: str, status: int = 200) -> Any:
    async with service.session.get(
        URL(service.url + url, encoded=True),
        headers={"Authorization": "Bearer mg_root_for_the_tests"},
    ) as response:
        answer = await response.json(content_type=None)
        assert response.status == status, answer
        link = response.headers.get("Link")
        assert (link is None) == (answer.get("next") is None)
        if link is not None:
            next_url = URL(link.partition(">")[0].removeprefix("<"), encoded=True)
            assert next_url.query["cursor"] == answer["next"]
    return answer


async def keys_of(service: Service, **query: Any) -> list[str]:
    page = await get_page(service, **query)
    assert page["next"] is None
    assert page["prefixes"] == []
    return [item["key"] for item in page["items"]]


async def test_every_condition_finds_what_it_says(service: Service, bucket: str):
    film = await store(
        service,
        "Reise/Über den Fluß.mp4",
        size=100,
        content_type="Video/MP4",
        user_metadata={"title": "Hello World"},
        tags={"who": "family", "a b": "c&d=e"},
    )
    service.metadata.clock.advance(60)
    notes = await store(service, "notes.txt", size=7, content_type="text/plain; charset=utf-8")
    at, then = timestamp(film.created_at), timestamp(notes.created_at)
    for query, found in (
        ({"q": "uber fluss"}, [film.key]),
        ({"q": "REISE hel"}, [film.key]),
        ({"q": "orld"}, []),
        ({"q": "!"}, []),
        ({"type": "video/*"}, [film.key]),
        ({"type": "VIDEO/mp4"}, [film.key]),
        ({"type": "text/plain"}, [notes.key]),
        ({"type": "text/*", "q": "hello"}, []),
        ({"tag.who": "family"}, [film.key]),
        ({"tag.who": "famil"}, []),
        ({"tag.a b": "c&d=e"}, [film.key]),
        ({"tag.who": '{"$ne": null}'}, []),
        ({"tag.$ne": "1"}, []),
        ({"meta.title": "Hello World"}, [film.key]),
        ({"meta.TITLE": "Hello World"}, [film.key]),
        ({"meta.title": "hello world"}, []),
        ({"size_min": 7, "size_max": 7}, [notes.key]),
        ({"size_min": 8}, [film.key]),
        ({"size_max": 99}, [notes.key]),
        ({"size_min": 9, "size_max": 8}, []),
        ({"since": at, "until": then}, [film.key]),
        ({"since": then}, [notes.key]),
        ({"until": at}, []),
        ({"prefix": "n", "size_min": 0}, [notes.key]),
        ({"prefix": "n", "q": "reise"}, []),
        ({"sort": "created"}, [film.key, notes.key]),
        ({"sort": "-created"}, [notes.key, film.key]),
        ({"sort": "size"}, [notes.key, film.key]),
        ({"sort": "-key"}, [notes.key, film.key]),
        ({"sort": "key", "q": "m"}, [film.key]),
    ):
        assert await keys_of(service, **query) == found, query


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("q=", "q"), ("q=" + "a" * 201, "q"), ("q=a&q=b", "q"), ("Q=a", "Q"),
        ("tag.=a", "tag."), ("tag=a", "tag"), ("tags=a", "tags"), ("tag.a=1&tag.a=2", "tag.a"),
        ("meta.a=1&meta.A=2", "meta.a"), ("user_metadata=x", "user_metadata"),
        ("type=video", "type"), ("type=*/*", "type"), ("type=video/", "type"),
        ("type=text/plain;charset=utf-8", "type"), ("type=video/mp*", "type"),
        ("size_min=-1", "size_min"), ("size_max=1e3", "size_max"), ("size_max=1.5", "size_max"),
        ("size_max=9223372036854775808", "size_max"), ("size=1", "size"),
        ("since=yesterday", "since"), ("since=2026-01-02", "since"), ("until=1700000000", "until"),
        ("since=2026-01-02T03:04:05", "since"), ("until=2026-13-02T03:04:05Z", "until"),
        ("since=2026-01-02T03:04:05+01:00", "since"),
        ("sort=name", "sort"), ("sort=", "sort"), ("sort=%2Bkey", "sort"),
        ("sort=key&sort=size", "sort"),
        ("delimiter=/&q=a", "delimiter"), ("delimiter=/&sort=size", "delimiter"),
        ("delimiter=/&sort=-key", "delimiter"), ("delimiter=/&size_min=1", "delimiter"),
        ("regex=a", "regex"), ("tag[$ne]=1", "tag[$ne]"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_by_name(
    service: Service, bucket: str, query: str, parameter: str
):
    problem = await fetch(service, f"{OBJECTS}?{quote(query, safe='=&%+')}", 400)
    assert problem["code"] == "invalid"
    assert problem["parameter"] == parameter


async def test_a_delimiter_still_goes_with_a_plain_listing(service: Service, bucket: str):
    await store(service, "a/b")
    page = await get_page(service, delimiter="/", sort="key", prefix="")
    assert page["prefixes"] == ["a/"]


async def test_a_cursor_is_good_for_its_own_query_only(service: Service, bucket: str):
    await make_bucket(service, "other")
    for n in range(3):
        await store(service, f"a{n}", tags={"t": "1"})
    page = await get_page(service, limit=1, **{"tag.t": "1"})
    cursor = page["next"]
    assert await get_page(service, limit=2, cursor=cursor, **{"tag.t": "1"})
    listing = await get_page(service, limit=1)
    for query in (
        {"tag.t": "2"},
        {"tag.t": "1", "q": "a"},
        {"tag.t": "1", "sort": "-key"},
        {"tag.t": "1", "prefix": "a"},
        {"tag.t": "1", "bucket": "other"},
        {},
    ):
        problem = await get_page(service, status=400, cursor=cursor, **query)
        assert problem["code"] == "invalid_cursor"
    await get_page(service, status=400, cursor=listing["next"], **{"tag.t": "1"})
    for broken in ("", "x", cursor[:-2], cursor + "A"):
        await get_page(service, status=400, cursor=broken, **{"tag.t": "1"})


async def test_a_key_that_may_list_a_prefix_searches_there_only(service: Service, bucket: str):
    lister = await service.make_key(Scope.LIST, prefixes=("a/",))
    reader = await service.make_key(Scope.READ)
    await store(service, "a/word")
    await store(service, "b/word")
    for key, query, status in (
        (lister, "q=word", 403),
        (lister, "q=word&prefix=b/", 403),
        (reader, "q=word", 403),
        (lister, "q=word&prefix=a/", 200),
    ):
        async with service.fetch("GET", f"{OBJECTS}?{query}", key=key) as response:
            assert response.status == status
            if status == 200:
                items = (await response.json())["items"]
                assert [item["key"] for item in items] == ["a/word"]


async def test_a_search_of_no_bucket_is_a_404(service: Service):
    assert (await get_page(service, status=404, q="a"))["code"] == "bucket_not_found"


# Any search against a model: a dict, and the rules as one would tell them.

WORDS = ["Rome", "rom", "ROMAN", "été", "Straße", "東京都", "2026", "x"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@dataclass
class Thing:
    key: str
    size: int
    facts: dict[str, Any]
    created: Any = field(default=None)


THING = st.builds(
    Thing,
    key=st.tuples(st.sampled_from(["a/", "b/", ""]), TEXT).map("".join),
    size=st.integers(0, 3),
    facts=st.fixed_dictionaries(
        {
            "content_type": st.sampled_from(["video/mp4", "video/webm", "text/plain"]),
            "tags": st.dictionaries(st.sampled_from("tu"), st.sampled_from("12"), max_size=2),
            "user_metadata": st.dictionaries(st.sampled_from("mn"), TEXT, max_size=1),
        }
    ),
)
SEARCH = st.fixed_dictionaries(
    {"sort": st.sampled_from(["key", "-key", "created", "-created", "size", "-size"])},
    optional={
        "q": st.lists(st.sampled_from(["RO", "roman", "ete", "strass", "京", "2"]), max_size=2).map(
            " ".join
        ).filter(bool),
        "prefix": st.sampled_from(["a/", "b/r", "R"]),
        "type": st.sampled_from(["video/*", "text/plain"]),
        "tag.t": st.sampled_from("12"),
        "tag.u": st.sampled_from("12"),
        "meta.m": TEXT,
        "size_min": st.integers(0, 3),
        "size_max": st.integers(0, 3),
        "since": st.integers(0, 4),
        "until": st.integers(0, 6),
    },
)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    things=st.lists(THING, max_size=12, unique_by=lambda thing: thing.key),
    query=SEARCH,
    limit=st.integers(1, 4),
    data=st.data(),
)
@pytest.mark.timeout(120)
async def test_a_search_finds_what_the_rules_say(
    service: Service, things: list[Thing], query: dict[str, Any], limit: int, data: st.DataObject
):
    bucket = f"b-{new_id().lower()}"
    await make_bucket(service, bucket)
    start = service.metadata.clock.now + timedelta(seconds=1)
    for thing in things:
        if data.draw(st.booleans(), label="a second later"):
            service.metadata.clock.advance(1)
        version = await store(service, thing.key, thing.size, bucket, **thing.facts)
        thing.created = version.created_at
    for name in ("since", "until"):
        if name in query:
            query = query | {name: start + timedelta(seconds=query[name])}
    wanted = {
        name: timestamp(value) if name in ("since", "until") else value
        for name, value in query.items()
    }
    met: list[str] = []
    cursor: dict[str, str] = {}
    while cursor is not None:
        page = await get_page(service, bucket, limit=limit, **wanted, **cursor)
        assert len(page["items"]) <= limit
        met += [item["key"] for item in page["items"]]
        cursor = {"cursor": page["next"]} if page["next"] else None
    assert met == [thing.key for thing in in_order(things, query["sort"]) if told(thing, query)]


def in_order(things: list[Thing], sort: str) -> list[Thing]:
    number = {"key": lambda t: 0, "created": lambda t: t.created, "size": lambda t: t.size}
    by = number[sort.removeprefix("-")]
    return sorted(things, key=lambda t: (by(t), t.key.encode()), reverse=sort.startswith("-"))


def told(thing: Thing, query: dict[str, Any]) -> bool:
    tags, metadata = thing.facts["tags"], thing.facts["user_metadata"]
    kind = thing.facts["content_type"]
    rules = {
        "sort": lambda _: True,
        "q": lambda q: all(
            starts_a_word(word, [thing.key, *metadata.values()]) for word in q.split()
        ),
        "prefix": thing.key.startswith,
        "type": lambda pattern: kind == pattern or pattern == f"{kind.split('/')[0]}/*",
        "tag.t": lambda value: tags.get("t") == value,
        "tag.u": lambda value: tags.get("u") == value,
        "meta.m": lambda value: metadata.get("m") == value,
        "size_min": lambda size: thing.size >= size,
        "size_max": lambda size: thing.size <= size,
        "since": lambda at: thing.created >= at,
        "until": lambda at: thing.created < at,
    }
    return all(rules[name](value) for name, value in query.items())


def starts_a_word(word: str, texts: list[str]) -> bool:
    words = [part for text in texts for part in re.split(r"[\W_]+", plain(text))]
    if not word.isascii():
        return any(word in other for other in words)
    return any(other.startswith(plain(word)) for other in words)


def plain(text: str) -> str:
    apart = unicodedata.normalize("NFD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))
