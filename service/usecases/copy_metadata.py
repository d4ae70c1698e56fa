"""Copy all metadata from one engine into another, and prove that they are the same.

Kind by kind, in the order of ids; a copy that was cut off goes on behind the last id that it wrote.
Then both sides are read once more and compared by counts and by a digest of every record: that is
what is believed, not that the writes returned. The mark that keeps services from starting on the
target is taken away only then.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from service.errors import Conflict
from service.model.records import Record, RecordKind
from service.stores.record_port import RecordStore

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Copied:
    """What was compared of one kind. sha256: over all records, in the order of ids, in hex."""

    kind: RecordKind
    records: int
    sha256: str


async def copy_metadata(
    source: RecordStore, target: RecordStore, tell: Callable[[Copied], None]
) -> None:
    """tell: called for each kind once it is the same on both sides.

    Raises Conflict where the target has anything else in it, or the two differ in the end.
    """
    await target.begin_filling()
    for kind in RecordKind:
        async for page in _pages(source, kind, await target.last(kind)):
            await target.write(kind, page)
    for kind in RecordKind:
        tell(await _compare(source, target, kind))
    await target.finish_filling()


async def _compare(source: RecordStore, target: RecordStore, kind: RecordKind) -> Copied:
    there, here = await _summed(source, kind), await _summed(target, kind)
    if there != here:
        raise Conflict(
            f"{kind.value} differ after the copy: {there.records} and {here.records} of them; was "
            "a service running? Remove what was copied and begin again",
            kind=kind.value,
        )
    return here


async def _summed(store: RecordStore, kind: RecordKind) -> Copied:
    count, digest = 0, hashlib.sha256()
    async for page in _pages(store, kind, ""):
        for record in page:
            digest.update(canonical(record))
        count += len(page)
    return Copied(kind, count, digest.hexdigest())


async def _pages(store: RecordStore, kind: RecordKind, after: str) -> AsyncIterator[list[Record]]:
    while page := await store.read(kind, after=after, limit=AT_ONCE):
        yield page
        after = page[-1].id


def canonical(record: Record) -> bytes:
    """The record as one line of JSON, the same whichever engine it was read from."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(asdict(record), default=_plain, option=options)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return sorted(value)  # a set
