"""Expand: one archive becomes many objects, each by the same way as a PUT.

All or nothing (`atomic`): entries are staged, and one transaction commits them; the first thing
that is wrong ends it and leaves nothing. Otherwise each entry is stored and visible by itself, and
what is wrong with one is told beside those that are stored; what is wrong with the archive, over a
cap or the stores' fault still ends it, and what was stored before stays.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from service.errors import (
    Conflict,
    Invalid,
    MediagateError,
    NotFound,
    StoreFull,
    StoreUnavailable,
    TooLarge,
)
from service.model.ids import TenantId
from service.model.preconditions import Preconditions
from service.model.version import ObjectFacts
from service.protocol.media_types import DEFAULT
from service.protocol.unpack_tar import unpack_tar, unpack_tar_gz
from service.protocol.unpack_zip import unpack_zip
from service.protocol.unpacking import Caps, Entry, Unpacking, entry_key
from service.usecases.put_object import PutRequest, PutResult, put_object
from service.usecases.runtime import Runtime
from service.usecases.staging import Staging
from service.usecases.unpacker import Unpacker

FORMATS: Mapping[str, Unpacking] = {
    "zip": unpack_zip,
    "tar": unpack_tar,
    "tar.gz": unpack_tar_gz,
}
_ENDS_ALL = (Conflict, NotFound, StoreFull, StoreUnavailable)
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True)
class ExpandRequest:
    """format: of FORMATS. prefix: put before the name of each entry.

    facts, preconditions, wanted_digests: of every object; the content type is guessed by name.
    allow: raises Forbidden for a key that the caller may not write.
    """

    tenant: TenantId
    bucket: str
    prefix: str
    format: str
    atomic: bool
    allow: Callable[[str], None]
    facts: ObjectFacts = field(default_factory=ObjectFacts)
    preconditions: Preconditions = field(default_factory=Preconditions)
    wanted_digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that became no object, or should not have become one."""

    name: str
    error: MediagateError


class Expansion:
    """One archive while it streams. outcomes: entry by entry, directories left out."""

    def __init__(self, runtime: Runtime, request: ExpandRequest) -> None:
        limits = runtime.settings.limits
        self._runtime = runtime
        self._request = request
        self._caps = Caps(
            limits.max_archive_entries, limits.max_archive_bytes, limits.max_archive_ratio
        )
        self._seen: set[str] = set()
        self.outcomes: list[PutResult | Refused] = []

    async def run(self, body: AsyncIterator[bytes]) -> None:
        """Raises Invalid (a broken archive), TooLarge (a cap), what the body and the stores raise;
        with `atomic` also what is wrong with an entry, named in `extras`, and nothing is stored."""
        unpacking = FORMATS[self._request.format]
        async with Unpacker(body, unpacking, self._caps) as unpacker:
            if self._request.atomic:
                await self._all_or_nothing(unpacker)
            else:
                await self._one_by_one(unpacker)

    async def _all_or_nothing(self, unpacker: Unpacker) -> None:
        limit = self._runtime.settings.limits.max_atomic_entries
        count = 0
        async with Staging(self._runtime) as staging, aclosing(unpacker.entries()) as entries:
            async for entry in entries:
                try:
                    put = self._put_of(entry)
                    count += 1
                    if count > limit:
                        raise TooLarge(
                            f"at most {limit} entries are stored all or nothing: send atomic=false",
                            limit=limit,
                        )
                    await staging.add(put, unpacker.chunks(entry))
                except MediagateError as error:
                    error.extras.setdefault("entry", entry.name)
                    raise
            self.outcomes.extend(await staging.commit())

    async def _one_by_one(self, unpacker: Unpacker) -> None:
        async with aclosing(unpacker.entries()) as entries:
            async for entry in entries:
                try:
                    put = self._put_of(entry)
                    chunks = unpacker.chunks(entry)
                    self.outcomes.append(await put_object(self._runtime, put, chunks))
                except MediagateError as error:
                    if unpacker.broken or isinstance(error, _ENDS_ALL):
                        raise
                    self.outcomes.append(Refused(entry.name, error))

    def _put_of(self, entry: Entry) -> PutRequest:
        """Raises Invalid, InvalidKey, Forbidden."""
        request = self._request
        if entry.problem is not None:
            raise Invalid(f"the entry {entry.problem}")
        key = entry_key(entry.name, request.prefix)
        request.allow(key)
        if key in self._seen:
            raise Invalid("the archive has two entries of this name")
        self._seen.add(key)
        return PutRequest(
            tenant=request.tenant,
            bucket=request.bucket,
            key=key,
            facts=replace(request.facts, content_type=guessed_type(key)),
            preconditions=request.preconditions,
            declared_size_bytes=entry.size_bytes,
            wanted_digests=request.wanted_digests,
        )


def guessed_type(key: str) -> str:
    """By the table that Python brings, not by this machine's."""
    kind, compressed = _TYPES.guess_type(key.rpartition("/")[2])
    if compressed is not None:
        return _COMPRESSED.get(compressed, DEFAULT)
    return kind or DEFAULT


_TYPES = mimetypes.MimeTypes()
