"""Compaction: few large runs instead of many small objects, and of each subject its last event.

Runs are sorted into tiers by size, each tier eight times the one below. Eight runs of a tier are
merged, together with all smaller ones, into one run; so there are fewer than eight of each tier
and what came since, and every event is copied a few times in its life. A run is written in parts
of at most `PART_EVENTS` or `PART_BYTES`, and memory holds one part of each source.

Safety rests on the order alone: all parts of the new run are acknowledged before the first source
is deleted, and no key is ever written twice. A crash in between leaves duplicates, which any merge
removes by event id. Two compactions of the same sources, one of them stale, leave duplicates too.

What may be left out. An event that a later one of its subject supersedes: the later one stands in
the same run. The removal of an object or bucket is the last word on its subject, and must not go
while anything else of that subject lies anywhere, or is still under way: a crash among the
deletes may strike the removal's source and spare the creation's, and a stale compactor may have
the creation in hand. Either would raise the dead. So it takes two compactions of *all* runs, each
of which could be read:

- the first that finds no other event of the subject anywhere marks the removal as alone, with the
  time (what it superseded was left out by an earlier one, whose sources are gone);
- a later one that still finds no other leaves the removal out, `journal.retention_s` after that.
  This is an hour at least, and longer than any write of a stale owner can take to arrive: it was
  sent under a lease that held (`Leadership.ensure`), and a signature lives for 15 minutes.

Where another event turns up in between, the mark is taken away and all begins anew.

A rebuild that runs meanwhile may find an object gone: it lists and begins again. A source that is
damaged is left where it is, for a human, and kept out of every merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from service.errors import JournalDamaged
from service.model.event import REMOVALS, Publisher
from service.model.ids import BlobKey
from service.protocol.journal import Line, marked_alone
from service.stores.blob_layout import journal_key, new_journal_run
from service.usecases.journal import Merged, Run, list_runs, merge, write_object
from service.usecases.publish_events import Leadership
from service.usecases.runtime import Runtime

FAN = 8
"""How many runs of a tier are merged, and how many times larger the next tier is: 2 ** 3."""
FIRST_TIER_BYTES = 64 << 10
PART_EVENTS, PART_BYTES = 5_000, 2 << 20
log = structlog.get_logger()


def tier(size_bytes: int) -> int:
    """0 below 64 KiB, 1 below 512 KiB, 2 below 4 MiB, …"""
    return ((size_bytes // FIRST_TIER_BYTES).bit_length() + 2) // 3


def choose(runs: Sequence[Run]) -> list[Run]:
    """Those to merge now: a full tier, the highest there is, and all below it."""
    tiers = [tier(run.size_bytes) for run in runs]
    full = [each for each in tiers if tiers.count(each) >= FAN]
    return [run for run, its in zip(runs, tiers, strict=True) if full and its <= max(full)]


async def compact_journal(
    runtime: Runtime, leadership: Leadership, publisher: Publisher, damaged: set[str]
) -> int:
    """Merge what is due; returns how many objects were removed.

    damaged: names of runs to keep out; those that turn out to be are added, and the next call goes
    on without them. Raises Fenced, BlobMissing (another process compacts), StoreUnavailable.
    """
    runs = await list_runs(runtime)
    runtime.metrics.journal_objects.set(sum(len(run.objects) for run in runs))
    chosen = choose([run for run in runs if run.name not in damaged])
    if not chosen:
        return 0

    def refuse(key: BlobKey, error: JournalDamaged) -> None:
        damaged.update(run.name for run in chosen if any(key == each for each, _ in run.objects))
        log.error("journal_damaged", key=key, detail=error.detail)
        raise error

    now = await runtime.metadata.now()
    old = now - timedelta(seconds=runtime.settings.journal.retention_s)
    written = _Writer(runtime, leadership, publisher, chosen[-1].position)
    whole = len(chosen) == len(runs)
    async for found in merge(runtime, chosen, refuse):
        if not (whole and _outlived(found, old)):
            await written.add(_judged(found, now, whole=whole))
    await written.flush()
    sources = [key for run in chosen for key, _ in run.objects]
    for key in sources:
        await runtime.blobs.delete(key)
    log.info("journal_compacted", removed=len(sources), written=written.parts)
    return len(sources)


def _outlived(found: Merged, old: datetime) -> bool:
    """Whether nobody needs to know any more that the subject was removed."""
    return found.events == 1 and found.last.alone is not None and found.last.alone < old


def _judged(found: Merged, now: datetime, *, whole: bool) -> Line:
    """The last event of a subject, marked if it is a removal and alone."""
    if found.events > 1 or found.last.type not in REMOVALS:
        return marked_alone(found.last, None)
    return marked_alone(found.last, now) if whole and not found.last.alone else found.last


class _Writer:
    """Writes one run, part by part."""

    def __init__(
        self, runtime: Runtime, leadership: Leadership, publisher: Publisher, position: int
    ) -> None:
        self.parts = 0
        self._runtime = runtime
        self._leadership = leadership
        self._publisher = publisher
        self._run = new_journal_run(position, publisher.epoch)
        self._lines: list[Line] = []
        self._size_bytes = 0

    async def add(self, line: Line) -> None:
        self._lines.append(line)
        self._size_bytes += len(line.raw)
        if len(self._lines) >= PART_EVENTS or self._size_bytes >= PART_BYTES:
            await self.flush()

    async def flush(self) -> None:
        if not self._lines:
            return
        await self._leadership.ensure(self._publisher)
        await write_object(self._runtime, journal_key(self._run, self.parts), self._lines)
        self.parts += 1
        self._lines, self._size_bytes = [], 0
