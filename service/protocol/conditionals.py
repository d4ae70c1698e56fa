"""Conditional requests: reading the fields, and what they mean for GET and HEAD.

What they mean for writes is in `model/preconditions.py`. Source: RFC 9110 §13.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from multidict import MultiMapping

from service.errors import Invalid
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.protocol.headers import combined
from service.protocol.http_dates import parse_http_date

MAX_TAGS = 100
# obs-text arrives as any character from U+0080 on.
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"')


class ReadOutcome(Enum):
    SEND = "send"
    NOT_MODIFIED = "not_modified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class IfRange:
    """One of the two, or neither for a field that makes no sense and so never holds."""

    tag: EntityTag | None = None
    date: datetime | None = None

    def holds(self, etag: str, modified_at: datetime) -> bool:
        """Strong comparison of the tag, or the exact second of Last-Modified (§13.1.5)."""
        if self.tag is not None:
            return not self.tag.weak and self.tag.opaque == etag
        return self.date is not None and self.date == modified_at.replace(microsecond=0)


def format_etag(opaque: str) -> str:
    """A strong entity tag as it stands in a header."""
    return f'"{opaque}"'


def parse_entity_tags(field: str) -> EntityTags:
    """`*` or a list of entity tags. Raises Invalid: to guess could let a write through."""
    text = field.strip(" \t")
    if text == "*":
        return EntityTags(any=True)
    tags: list[EntityTag] = []
    position = 0
    while True:
        position = _skip(text, position, " \t,")
        if position == len(text):
            break
        match = _TAG.match(text, position)
        if match is None or len(tags) == MAX_TAGS:
            raise Invalid('expected `*` or a list of entity tags such as "abc"')
        tags.append(EntityTag(_octets(match[2]), weak=bool(match[1])))
        position = _skip(text, match.end(), " \t")
        if position < len(text) and text[position] != ",":
            raise Invalid("entity tags must be separated by commas")
    if not tags:
        raise Invalid("an empty list of entity tags")
    return EntityTags(tuple(tags))


def _octets(opaque: str) -> str:
    """Octets that are no UTF-8 come as lone surrogates, which no store takes; no tag of ours has
    such octets, so all that counts is that they stay different from it."""
    return opaque.encode("utf-8", "backslashreplace").decode("utf-8")


def _skip(text: str, position: int, chars: str) -> int:
    while position < len(text) and text[position] in chars:
        position += 1
    return position


def parse_preconditions(headers: MultiMapping[str]) -> Preconditions:
    """If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since; no-dates are ignored.

    Raises Invalid for a malformed list of entity tags.
    """
    return Preconditions(
        if_match=_tags(headers, "If-Match"),
        if_none_match=_tags(headers, "If-None-Match"),
        if_modified_since=_date(headers, "If-Modified-Since"),
        if_unmodified_since=_date(headers, "If-Unmodified-Since"),
    )


def _tags(headers: MultiMapping[str], name: str) -> EntityTags | None:
    field = combined(headers, name)
    return None if field is None else parse_entity_tags(field)


def _date(headers: MultiMapping[str], name: str) -> datetime | None:
    field = combined(headers, name)
    return None if field is None else parse_http_date(field)


def parse_if_range(headers: MultiMapping[str]) -> IfRange | None:
    """None where the field is absent, and a Range counts without it."""
    field = combined(headers, "If-Range")
    if field is None:
        return None
    match = _TAG.fullmatch(field)
    if match:
        return IfRange(tag=EntityTag(match[2], weak=bool(match[1])))
    return IfRange(date=parse_http_date(field))


def evaluate_read(conditions: Preconditions, etag: str, modified_at: datetime) -> ReadOutcome:
    """Steps 1 to 4 of §13.2.2 for GET and HEAD of a representation that exists.

    etag: its strong tag without quotes. Range and If-Range (step 5) come after, for SEND only.
    """
    second = modified_at.replace(microsecond=0)
    if conditions.if_match is not None:
        if not conditions.if_match.match_strongly(etag):
            return ReadOutcome.FAILED
    elif conditions.if_unmodified_since is not None and second > conditions.if_unmodified_since:
        return ReadOutcome.FAILED
    if conditions.if_none_match is not None:
        if conditions.if_none_match.match_weakly(etag):
            return ReadOutcome.NOT_MODIFIED
    elif conditions.if_modified_since is not None and second <= conditions.if_modified_since:
        return ReadOutcome.NOT_MODIFIED
    return ReadOutcome.SEND
