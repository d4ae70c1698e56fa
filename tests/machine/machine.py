"""The rules. What is refused is refused by the words of docs/api.md, and changes nothing."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.machine.door import Answer, Door, path_of
from tests.machine.model import Bucket, Entry, Facts, Search, folders

NAMES = ["a", "a/b", "a/b c%41+&?", "ä/ß", "日本.mp4"]
KEYS = st.sampled_from(NAMES)
BUCKETS = st.sampled_from(["kept", "plain"])
BODIES = st.sampled_from([b"", b"x", b"seven b", b"y" * 300])
TYPES = st.sampled_from(["video/mp4", "video/webm", "image/png", "application/octet-stream"])
WORDS = ["Holidays in Rome", "holidays", "Rome 1999"]
METAS = st.sampled_from([(), *((("title", words),) for words in WORDS)])
TAGS = st.sampled_from([(), (("who", "us"),), (("who", "them"), ("year", '{"$ne": null}'))])
FACTS = st.builds(Facts, TYPES, METAS, TAGS)
CONDITIONS = st.sampled_from(["", "", "", "match", "match wrong", "none match"])
WHICH = st.integers(min_value=0, max_value=5)
CONDITIONS_OF_SEARCHES: list[dict[str, Any]] = [
    *({"prefix": prefix} for prefix in ("a", "a/", "ä")),
    *({"words": words} for words in ("holi", "ROME", "holi rome", "1999 rom", "nothing")),
    *({"content_type": kind} for kind in ("video/mp4", "video/*", "image/png", "audio/*")),
    *({"tag": tag} for tag in (("who", "us"), ("year", '{"$ne": null}'), ("who", "u"))),
    *({"meta": meta} for meta in (("title", "holidays"), ("title", "Rome 1999"))),
    *({"size_min": size} for size in (0, 1, 7, 8)),
    *({"size_max": size} for size in (0, 7, 299)),
]
SEARCHES = st.builds(
    lambda conditions, sort: Search(sort=sort, **{k: v for c in conditions for k, v in c.items()}),
    st.lists(st.sampled_from(CONDITIONS_OF_SEARCHES), max_size=2),
    st.sampled_from(["key", "-key", "created", "-created", "size", "-size"]),
)
"""Two conditions at most: more find nothing, most of the time."""
ABSENT = "01J00000000000000000000000"


class Objects(RuleBasedStateMachine):
    """door: set by the test that runs it."""

    door: ClassVar[Door]

    @initialize(bodies=st.lists(BODIES, min_size=6, max_size=6), facts=st.lists(FACTS, min_size=6))
    def make_buckets(self, bodies: list[bytes], facts: list[Facts]) -> None:
        """Most keys name something, or most of what follows would find nothing."""
        self.model = {"kept": Bucket(versioning=True), "plain": Bucket(versioning=False)}
        suffix = secrets.token_hex(6)
        self.names = {name: f"{name}-{suffix}" for name in self.model}
        self.sent: list[tuple[str, str, dict[str, Any], Answer]] = []
        for name, bucket in self.model.items():
            made = self.ask("PUT", f"/v1/buckets/{self.names[name]}", json=settings_of(bucket))
            assert made.status == 201, made.body
        for number, body in enumerate(bodies):
            bucket = list(self.model)[number % 2]
            self.put(bucket, NAMES[number // 2], body, facts[number], "", named=False)

    def ask(self, method: str, path: str, **given: Any) -> Answer:
        answer = self.door.ask(method, path, **given)
        assert answer.status < 500, answer.body
        return answer

    def path(self, bucket: str, kind: str, key: str = "") -> str:
        return path_of(self.names[bucket], kind, key)

    # Changes

    @rule(bucket=BUCKETS, key=KEYS, body=BODIES, facts=FACTS, only=CONDITIONS, named=st.booleans())
    def put(self, bucket: str, key: str, body: bytes, facts: Facts, only: str, named: bool) -> None:
        headers = headers_of(facts)
        if named:
            headers["Idempotency-Key"] = secrets.token_hex(8)
        holds = self.add_condition(headers, self.model[bucket].current(key), only)
        path = self.path(bucket, "objects", key)
        answer = self.ask("PUT", path, headers=headers, data=body)
        if not self.stored(answer, bucket, key, body, facts, holds=holds):
            return
        if named:
            self.sent.append((bucket, path, {"headers": headers, "data": body}, answer))

    @rule(bucket=BUCKETS, key=KEYS, body=BODIES, facts=FACTS)
    def overwrite(self, bucket: str, key: str, body: bytes, facts: Facts) -> None:
        self.put(bucket, key, body, facts, "", named=False)

    @rule(which=WHICH)
    def repeat(self, which: int) -> None:
        """The same request again: the first answer, whatever happened since."""
        if self.sent:
            _, path, request, first = self.sent[which % len(self.sent)]
            again = self.ask("PUT", path, **request)
            assert again.status == first.status
            assert again.json["version"] == first.json["version"]
            assert again.headers["Idempotency-Replayed"] == "true"

    @rule(bucket=BUCKETS, key=KEYS, only=CONDITIONS)
    def delete(self, bucket: str, key: str, only: str) -> None:
        headers: dict[str, str] = {}
        current = self.model[bucket].current(key)
        holds = self.add_condition(headers, current, only)
        answer = self.ask("DELETE", self.path(bucket, "objects", key), headers=headers)
        if not holds:
            assert answer.status == 412
            return
        assert answer.status == 204
        self.model[bucket].delete(key)
        hidden = current is not None and self.model[bucket].versioning
        assert (answer.headers.get("X-Delete-Marker") == "true") is hidden
        self.check(bucket, key)

    @rule(bucket=BUCKETS, key=KEYS, which=WHICH)
    def delete_version(self, bucket: str, key: str, which: int) -> None:
        id = self.some_id(bucket, key, which)
        answer = self.ask("DELETE", self.path(bucket, "objects", key), query={"version": id})
        assert answer.status == 204
        self.model[bucket].delete_version(key, id)
        self.check(bucket, key)

    @rule(bucket=BUCKETS, key=KEYS, which=WHICH)
    def restore(self, bucket: str, key: str, which: int) -> None:
        id = self.some_id(bucket, key, which)
        old = self.model[bucket].version(key, id)
        answer = self.ask("POST", self.path(bucket, "versions", key), json={"restore": id})
        if old is None or old.body is None:
            assert answer.status == 404, answer.body
            return
        self.stored(answer, bucket, key, old.body, old.facts)

    @rule(source=BUCKETS, key=KEYS, to=BUCKETS, new=KEYS, which=st.none() | WHICH, only=CONDITIONS)
    def copy(self, source: str, key: str, to: str, new: str, which: int | None, only: str) -> None:
        old = self.model[source].current(key)
        wanted: dict[str, Any] = {"key": key}
        if which is not None:
            wanted["version"] = self.some_id(source, key, which)
            old = self.model[source].version(key, wanted["version"])
        headers: dict[str, str] = {}
        holds = self.add_condition(headers, self.model[to].current(new), only)
        place = {"bucket": self.names[to], "key": new}
        asked = {"source": wanted, "destination": place}
        answer = self.ask("POST", self.path(source, "copies"), json=asked, headers=headers)
        if old is None or old.body is None:
            # A destination that refuses may be told before a source that is not there.
            assert answer.status in ((404,) if holds else (404, 412)), answer.body
            return
        self.stored(answer, to, new, old.body, old.facts, holds=holds)

    @rule(source=BUCKETS, key=KEYS, to=BUCKETS, new=KEYS, only=CONDITIONS)
    def move(self, source: str, key: str, to: str, new: str, only: str) -> None:
        if (source, key) == (to, new):
            return
        old = self.model[source].current(key)
        headers: dict[str, str] = {}
        holds = self.add_condition(headers, self.model[to].current(new), only)
        place = {"bucket": self.names[to], "key": new}
        asked = {"source": {"key": key}, "destination": place}
        answer = self.ask("POST", self.path(source, "moves"), json=asked, headers=headers)
        if old is None or old.body is None:
            assert answer.status in ((404,) if holds else (404, 412)), answer.body
            return
        if holds:
            self.model[source].delete(key)
        self.stored(answer, to, new, old.body, old.facts, holds=holds)
        self.check(source, key)

    @rule(
        bucket=BUCKETS,
        key=KEYS,
        kind=st.none() | TYPES,
        tags=st.none() | TAGS,
        only=st.sampled_from(["", "right", "wrong"]),
    )
    def patch(self, bucket: str, key: str, kind: str | None, tags: Any, only: str) -> None:
        current = self.model[bucket].current(key)
        change: dict[str, Any] = {} if kind is None else {"content_type": kind}
        if tags is not None:
            gone = dict.fromkeys(dict(current.facts.tags)) if current else {}
            change["tags"] = gone | dict(tags)
        headers = {"Content-Type": "application/merge-patch+json"}
        if only:
            revision = current.revision if current else 1
            known = current.id if current else ABSENT
            headers["If-Match"] = f'"{known}.{revision + (only == "wrong")}"'
        path = self.path(bucket, "metadata", key)
        answer = self.ask("PATCH", path, json=change, headers=headers)
        if current is None:
            assert answer.status == 404
        elif only == "wrong":
            assert answer.status == 412
        else:
            assert answer.status == 200, answer.body
            facts = Facts(
                kind or current.facts.content_type,
                current.facts.meta,
                current.facts.tags if tags is None else tuple(sorted(tags)),
            )
            changed = self.model[bucket].patch(key, facts)
            assert answer.etag == f"{changed.id}.{changed.revision}"
            assert answer.json["revision"] == changed.revision
        self.check(bucket, key)

    @rule(bucket=BUCKETS, versioning=st.booleans())
    def set_versioning(self, bucket: str, versioning: bool) -> None:
        self.model[bucket].versioning = versioning
        path = f"/v1/buckets/{self.names[bucket]}"
        answer = self.ask("PATCH", path, json=settings_of(self.model[bucket]))
        assert answer.json["versioning"] is versioning

    @rule(bucket=BUCKETS, keys=st.lists(KEYS, min_size=1, max_size=4))
    def delete_many(self, bucket: str, keys: list[str]) -> None:
        answer = self.ask("POST", self.path(bucket, "deletions"), json={"keys": keys})
        assert answer.status == 200, answer.body
        expected = {}
        for key in dict.fromkeys(keys):
            there = self.model[bucket].current(key) is not None
            expected[key] = "deleted" if there else "absent"
            self.model[bucket].delete(key)
        told = {each["key"]: each["status"] for each in answer.json["results"]}
        assert told == expected
        for key in expected:
            self.check(bucket, key)

    # Questions

    @rule(bucket=BUCKETS, search=SEARCHES, limit=st.sampled_from([1, 2, 100]))
    def search(self, bucket: str, search: Search, limit: int) -> None:
        items, _ = self.walk(bucket, search.parameters(), limit)
        assert items == search.answer(self.model[bucket])

    @rule(bucket=BUCKETS, prefix=st.sampled_from(["", "a", "a/", "ä/"]), limit=WHICH)
    def look_into_folders(self, bucket: str, prefix: str, limit: int) -> None:
        found = self.walk(bucket, {"prefix": prefix, "delimiter": "/"}, limit + 1)
        assert found == folders(self.model[bucket], prefix)

    @rule(bucket=BUCKETS, key=KEYS, which=WHICH)
    def read_version(self, bucket: str, key: str, which: int) -> None:
        id = self.some_id(bucket, key, which)
        entry = self.model[bucket].version(key, id)
        answer = self.ask("GET", self.path(bucket, "objects", key), query={"version": id})
        if entry is None:
            assert answer.status == 404
        else:
            assert (answer.status, answer.body, answer.etag) == (200, entry.body, id)

    @invariant()
    def listings_are_the_model(self) -> None:
        for name, bucket in getattr(self, "model", {}).items():
            assert self.walk(name, {}, 100)[0] == list(bucket.objects())

    def teardown(self) -> None:
        for name, bucket in getattr(self, "model", {}).items():
            for key in bucket.keys:
                self.check(name, key)

    # What they share

    def add_condition(self, headers: dict[str, str], current: Entry | None, only: str) -> bool:
        """Whether the condition holds of what the key names."""
        match only:
            case "match":
                headers["If-Match"] = f'"{current.id if current else ABSENT}"'
                return current is not None
            case "match wrong":
                headers["If-Match"] = f'"{ABSENT}"'
                return False
            case "none match":
                headers["If-None-Match"] = "*"
                return current is None
        return True

    def stored(
        self,
        answer: Answer,
        bucket: str,
        key: str,
        body: bytes,
        facts: Facts,
        *,
        holds: bool = True,
    ) -> bool:
        """An answer like that of an upload; whether a version was made."""
        if not holds:
            assert answer.status == 412, answer.body
            self.check(bucket, key)
            return False
        replaced = self.model[bucket].current(key) is not None
        assert answer.status == (200 if replaced else 201), answer.body
        told = answer.json
        assert answer.etag == told["version"]
        self.model[bucket].put(key, Entry(told["version"], body, facts, told["created_at"]))
        self.check(bucket, key)
        return True

    def some_id(self, bucket: str, key: str, which: int) -> str:
        """Of one of the key's entries, or of none at all."""
        ids = [entry.id for entry in self.model[bucket].keys.get(key, ()) if entry.id]
        return [*ids, ABSENT][which % (len(ids) + 1)]

    def walk(self, bucket: str, query: dict[str, str], limit: int) -> tuple[list[str], list[str]]:
        """Keys and prefixes of all pages."""
        keys, prefixes, asked = [], [], query | {"limit": str(limit)}
        while True:
            answer = self.ask("GET", self.path(bucket, "objects"), query=asked)
            assert answer.status == 200, answer.body
            page = answer.json
            assert len(page["items"]) + len(page["prefixes"]) <= limit
            keys += [item["key"] for item in page["items"]]
            prefixes += page["prefixes"]
            if page["next"] is None:
                return keys, prefixes
            asked["cursor"] = page["next"]

    def check(self, bucket: str, key: str) -> None:
        """What the key names, its facts and its history."""
        self.learn(bucket, key)
        model = self.model[bucket]
        entry, entries = model.current(key), model.keys.get(key, [])
        answer = self.ask("GET", self.path(bucket, "objects", key))
        if entry is None:
            assert answer.status == 404, answer.body
            hidden = bool(entries)
            assert (answer.headers.get("X-Delete-Marker") == "true") is hidden
        else:
            assert (answer.status, answer.body, answer.etag) == (200, entry.body, entry.id)
            told = self.ask("GET", self.path(bucket, "metadata", key)).json
            assert told["content_type"] == entry.facts.content_type
            assert told["user_metadata"] == dict(entry.facts.meta)
            assert told["tags"] == dict(entry.facts.tags)
            assert (told["revision"], told["created_at"]) == (entry.revision, entry.created)

    def learn(self, bucket: str, key: str) -> None:
        """The history must be the model's; the ids of markers are learned from it."""
        entries = self.model[bucket].keys.get(key, [])
        answer = self.ask("GET", self.path(bucket, "versions", key), query={"limit": "100"})
        if not entries:
            assert (answer.status == 404) or answer.json["items"] == []
            return
        told = list(reversed(answer.json["items"]))
        assert [each["latest"] for each in told] == [False] * (len(told) - 1) + [True]
        for number, (entry, each) in enumerate(zip(entries, told, strict=True)):
            assert each["delete_marker"] is (entry.body is None)
            if entry.id is None:
                entries[number] = Entry(each["version"], None)
            else:
                assert each["version"] == entry.id
            if entry.body is not None:
                assert each["size_bytes"] == len(entry.body)


def settings_of(bucket: Bucket) -> dict[str, bool]:
    return {"versioning": bucket.versioning}


def headers_of(facts: Facts) -> dict[str, str]:
    headers = {"Content-Type": facts.content_type}
    headers |= {f"X-Meta-{name}": value for name, value in facts.meta}
    if facts.tags:
        headers["X-Tags"] = urlencode(dict(facts.tags), quote_via=quote)
    return headers
