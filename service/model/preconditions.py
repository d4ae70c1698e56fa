"""Conditions that a client puts on a request, evaluated here for writes (RFC 9110 §13.2.2).

A write is checked twice: early, to spare the client the upload, and again inside the transaction
that commits, which is the one that counts. How conditions are read from headers, and what they
mean for GET and HEAD, is in `protocol/conditionals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.errors import PreconditionFailed
from service.model.version import Version


@dataclass(frozen=True, slots=True)
class EntityTag:
    """`opaque` without quotes; `weak` for `W/"…"`."""

    opaque: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class EntityTags:
    """A list of entity tags, or `*` (`any` is true and `tags` is empty)."""

    tags: tuple[EntityTag, ...] = ()
    any: bool = False

    def match_strongly(self, etag: str | None) -> bool:
        """etag: the current strong tag, None where there is no current representation."""
        if etag is None:
            return False
        return self.any or any(not tag.weak and tag.opaque == etag for tag in self.tags)

    def match_weakly(self, etag: str | None) -> bool:
        if etag is None:
            return False
        return self.any or any(tag.opaque == etag for tag in self.tags)


@dataclass(frozen=True, slots=True)
class Preconditions:
    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None

    def check_write(self, current: Version | None) -> None:
        """Raise PreconditionFailed unless a write may go on.

        current: the latest version of the key, None where the key names nothing.
        If-Modified-Since says nothing about writes and is ignored.
        """
        self._check(current.etag if current else None, current.modified_at if current else None)

    def check_metadata_write(self, current: Version) -> None:
        """The same for a change of the facts: entity tags are those of the metadata resource."""
        self._check(current.metadata_etag, current.modified_at)

    def _check(self, etag: str | None, modified_at: datetime | None) -> None:
        if self.if_match is not None:
            if not self.if_match.match_strongly(etag):
                raise PreconditionFailed("If-Match does not hold", condition="if-match")
        elif (
            self.if_unmodified_since is not None
            and modified_at is not None
            and modified_at.replace(microsecond=0) > self.if_unmodified_since
        ):
            raise PreconditionFailed(
                "the object was changed after If-Unmodified-Since", condition="if-unmodified-since"
            )
        if self.if_none_match is not None and self.if_none_match.match_weakly(etag):
            raise PreconditionFailed("If-None-Match does not hold", condition="if-none-match")
