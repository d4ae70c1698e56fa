"""The terms of an object: the strings that a search finds it by, each with its kind in front.

    y:video/mp4  y:video/*    its content type
    t:<tag>␟<value>           a tag (␟ is U+001F, which no name and no value can hold)
    m:<name>␟<value>          user metadata
    w:<word>                  a folded word of its key, its filename, or a value of its metadata

All filters of a search but sizes and times are conditions on them, so one index serves them all.
They are made here only, from nothing but the key and the facts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from service.model.search import Term
from service.model.version import ObjectFacts
from service.protocol.media_types import essence
from service.protocol.words import query_words, words_of

MAX_TERMS = 1000
"""Per object: what is past them is not found by. Words come last, those of the key first."""
MAX_TERM_CHARS = 200
"""Longer ones stand in the index as a digest of theirs."""
WORD = "w:"
"""How the terms of words begin; all others are of an object as a whole."""
_BETWEEN, _DIGEST = "\x1f", "\x1e"


def terms_of(key: str, facts: ObjectFacts) -> list[str]:
    """Each once."""
    found: dict[str, None] = {}
    for term in _all_terms(key, facts):
        found[term] = None
        if len(found) == MAX_TERMS:
            break
    return list(found)


def _all_terms(key: str, facts: ObjectFacts) -> Iterator[str]:
    name = essence(facts.content_type)
    yield type_term(name).text
    yield type_term(f"{name.partition('/')[0]}/*").text
    for tag, value in facts.tags.items():
        yield tag_term(tag, value).text
    for field, value in facts.user_metadata.items():
        yield metadata_term(field, value).text
    for text in (key, facts.filename or "", *facts.user_metadata.values()):
        for word in words_of(text):
            yield f"{WORD}{word}"


def type_term(pattern: str) -> Term:
    """pattern: `video/mp4` or `video/*`, in lower case."""
    return Term(_bounded(f"y:{pattern}"))


def tag_term(name: str, value: str) -> Term:
    return Term(_bounded(f"t:{name}{_BETWEEN}{value}"))


def metadata_term(name: str, value: str) -> Term:
    """name: in lower case, as it is stored."""
    return Term(_bounded(f"m:{name}{_BETWEEN}{value}"))


def word_terms(query: str) -> list[Term]:
    """What the words of a query ask for; without a letter or a digit, for what nothing has."""
    words = dict.fromkeys(query_words(query))
    return [Term(f"{WORD}{word}", whole=False) for word in words] or [Term(WORD)]


def _bounded(term: str) -> str:
    if len(term) <= MAX_TERM_CHARS:
        return term
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return f"{term[:2]}{_DIGEST}{digest}"
