"""What the API promises of objects, as lists: docs/api.md, "Upload" to "Deleting many"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

Tags = dict[str, str]


@dataclass(frozen=True)
class Facts:
    content_type: str = "application/octet-stream"
    meta: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of a key's history. id: None until the service told it. body: None for a marker."""

    id: str | None
    body: bytes | None
    facts: Facts = Facts()
    created: str = ""
    revision: int = 1


@dataclass
class Bucket:
    """keys: the entries of each that count, the oldest first."""

    versioning: bool
    keys: dict[str, list[Entry]] = field(default_factory=dict)

    def current(self, key: str) -> Entry | None:
        """What the key names."""
        entries = self.keys.get(key)
        return entries[-1] if entries and entries[-1].body is not None else None

    def version(self, key: str, id: str) -> Entry | None:
        found = [each for each in self.keys.get(key, ()) if each.id == id]
        return found[0] if found and found[0].body is not None else None

    def objects(self) -> dict[str, Entry]:
        """In the order of keys."""
        named = {key: self.current(key) for key in sorted(self.keys, key=str.encode)}
        return {key: entry for key, entry in named.items() if entry is not None}

    def put(self, key: str, entry: Entry) -> None:
        if not self.versioning and self.current(key) is not None:
            self.keys[key].pop()
        self.keys.setdefault(key, []).append(entry)

    def delete(self, key: str) -> None:
        if self.current(key) is None:
            return
        if not self.versioning:
            self.keys[key].pop()
        if self.keys[key]:
            self.keys[key].append(Entry(None, None))

    def delete_version(self, key: str, id: str) -> None:
        self.keys[key] = [each for each in self.keys.get(key, ()) if each.id != id]

    def patch(self, key: str, facts: Facts) -> Entry:
        entry = self.keys[key][-1]
        if facts != entry.facts:
            entry = replace(entry, facts=facts, revision=entry.revision + 1)
        self.keys[key][-1] = entry
        return entry


@dataclass(frozen=True)
class Search:
    """Conditions of a search, and its order; words are ASCII and stand in values of metadata."""

    prefix: str = ""
    words: str | None = None
    content_type: str | None = None
    tag: tuple[str, str] | None = None
    meta: tuple[str, str] | None = None
    size_min: int | None = None
    size_max: int | None = None
    sort: str = "key"

    def parameters(self) -> dict[str, str]:
        given = {
            "prefix": self.prefix or None,
            "q": self.words,
            "type": self.content_type,
            "size_min": self.size_min,
            "size_max": self.size_max,
            "sort": self.sort,
        }
        if self.tag is not None:
            given[f"tag.{self.tag[0]}"] = self.tag[1]
        if self.meta is not None:
            given[f"meta.{self.meta[0]}"] = self.meta[1]
        return {name: str(value) for name, value in given.items() if value is not None}

    def answer(self, bucket: Bucket) -> list[str]:
        """Keys, in order."""
        found = [key for key, entry in bucket.objects().items() if self._fits(key, entry)]
        objects = bucket.objects()
        numbers: dict[str, Callable[[str], object]] = {
            "key": lambda key: 0,
            "created": lambda key: objects[key].created,
            "size": lambda key: len(objects[key].body or b""),
        }
        number = numbers[self.sort.removeprefix("-")]
        found.sort(key=lambda key: (number(key), key.encode()), reverse=self.sort.startswith("-"))
        return found

    def _fits(self, key: str, entry: Entry) -> bool:
        return key.startswith(self.prefix) and all(self._conditions(entry))

    def _conditions(self, entry: Entry) -> Iterator[bool]:
        size, facts = len(entry.body or b""), entry.facts
        yield self.size_min is None or size >= self.size_min
        yield self.size_max is None or size <= self.size_max
        yield self.tag is None or self.tag in facts.tags
        yield self.meta is None or self.meta in facts.meta
        there = [word for _, value in facts.meta for word in value.lower().split()]
        for word in (self.words or "").lower().split():
            yield any(each.startswith(word) for each in there)
        if self.content_type is not None:
            kind = self.content_type.removesuffix("*")
            yield facts.content_type == kind or (
                self.content_type.endswith("/*") and facts.content_type.startswith(kind)
            )


def folders(bucket: Bucket, prefix: str) -> tuple[list[str], list[str]]:
    """Keys and common prefixes of a listing with the delimiter `/`."""
    keys, prefixes = [], dict[str, None]()
    for key in bucket.objects():
        if not key.startswith(prefix):
            continue
        head, slash, _ = key[len(prefix) :].partition("/")
        if slash:
            prefixes[prefix + head + slash] = None
        else:
            keys.append(key)
    return keys, list(prefixes)
