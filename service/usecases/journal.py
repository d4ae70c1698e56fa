"""The objects of the journal in the store: written, listed as runs, read, merged.

A run is a sorted sequence of events: the one object of a batch, or the parts of a compaction.
Runs overlap and repeat each other; the merge of all of them is the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace

from awscrt import checksums

from service.errors import JournalDamaged
from service.model.ids import BlobKey
from service.protocol.journal import Line, decode_object, encode_object
from service.stores.blob_layout import JOURNAL_PREFIX, parse_journal_key
from service.usecases.runtime import Runtime

_PAGE = 1000
_BREATH = 200
"""Lines between two moments in which the event loop may do something else."""

Damage = Callable[[BlobKey, JournalDamaged], None]


@dataclass(frozen=True, slots=True)
class Run:
    """objects: (key, size in bytes) of its parts in their order. position: in its keys."""

    name: str
    position: int
    epoch: int
    objects: list[tuple[BlobKey, int]] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.objects)


@dataclass(frozen=True, slots=True)
class Merged:
    """What the journal knows of one subject. last: its last event. events: different ones."""

    last: Line
    events: int


async def write_object(runtime: Runtime, key: BlobKey, lines: Sequence[Line]) -> None:
    """Returns once the store has acknowledged it. Raises OutcomeUnknown and the like."""
    data = await asyncio.to_thread(encode_object, lines)
    crc64nvme = checksums.crc64nvme(data).to_bytes(8, "big")
    await runtime.blobs.put(key, [data], crc64nvme)


async def read_object(runtime: Runtime, key: BlobKey, size_bytes: int) -> list[Line]:
    """Raises JournalDamaged; BlobMissing where a compaction removed it meanwhile."""
    data = bytearray()
    async with runtime.blobs.read(key, 0, size_bytes) as chunks:
        async for chunk in chunks:
            data += chunk
    return await asyncio.to_thread(decode_object, bytes(data))


async def list_runs(runtime: Runtime) -> list[Run]:
    """By name, which is by position. Objects that are none of the journal's are passed over."""
    runs: dict[str, Run] = {}
    after = ""
    while True:
        page = await runtime.blobs.scan(f"{JOURNAL_PREFIX}/", after=after, limit=_PAGE)
        for found in page:
            try:
                name, position, epoch = parse_journal_key(found.key)
            except ValueError:
                continue
            run = runs.setdefault(name, Run(name, position, epoch))
            run.objects.append((found.key, found.size_bytes))
        if len(page) < _PAGE:
            return sorted(runs.values(), key=lambda run: run.name)
        after = page[-1].key


class _Reader:
    """The lines of one run, an object at a time."""

    def __init__(self, runtime: Runtime, run: Run, damaged: Damage) -> None:
        self._runtime = runtime
        self._left = list(reversed(run.objects))
        self._lines: list[Line] = []
        self._damaged = damaged

    async def next(self) -> Line | None:
        while not self._lines:
            if not self._left:
                return None
            key, size_bytes = self._left.pop()
            try:
                self._lines = await read_object(self._runtime, key, size_bytes)
            except JournalDamaged as error:
                self._damaged(key, error)
            self._lines.reverse()
        return self._lines.pop()


async def merge(runtime: Runtime, runs: Sequence[Run], damaged: Damage) -> AsyncIterator[Merged]:
    """What these runs know, by subject in order; one object of each is in memory at a time.

    damaged: told of an object that cannot be read; it may raise, else the object is left out.
    Raises BlobMissing where another process removed an object in between: list and begin again.
    """
    readers = [_Reader(runtime, run, damaged) for run in runs]
    firsts = [(number, await reader.next()) for number, reader in enumerate(readers)]
    heap = [(line.order, number, line) for number, line in firsts if line is not None]
    heapify(heap)
    last: Line | None = None
    events = steps = 0
    while heap:
        _, number, line = heap[0]
        following = await readers[number].next()
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, (following.order, number, following))
        if last is not None and last.subject != line.subject:
            yield Merged(last, events)
            last, events = None, 0
        if last is None or last.id != line.id:
            events += 1
        last = line
        steps += 1
        if steps % _BREATH == 0:
            await asyncio.sleep(0)
    if last is not None:
        yield Merged(last, events)
