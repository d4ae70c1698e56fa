"""folder -> prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from service.client.api import AsyncMediagate
from service.client.checksum import NAME
from service.client.io_thread import BlockingThread
from service.client.sources import State
from service.client.sync.crew import each
from service.client.sync.digest_cache import DigestCache
from service.client.sync.pairing import Pair, Place, is_same, pairs
from service.client.sync.report import Action, Kind, Report, SyncOptions
from service.errors import Conflict, MediagateError


async def sync_up(
    mediagate: AsyncMediagate,
    folder: Path,
    place: Place,
    options: SyncOptions,
    cache: DigestCache,
    report: Report,
) -> None:
    """Store what the prefix lacks or has otherwise. With `delete`, what the folder lacks goes at
    the end, and only if all of the folder could be read and stored."""
    run = _Upload(mediagate, place, options, cache, report)
    await each(run.wanted(folder), run.store, workers=options.parallel)
    if options.delete and not report.counts[Kind.FAILED]:
        await run.delete()


class _Upload:
    def __init__(
        self,
        mediagate: AsyncMediagate,
        place: Place,
        options: SyncOptions,
        cache: DigestCache,
        report: Report,
    ) -> None:
        self._mediagate, self._place, self._options = mediagate, place, options
        self._cache, self._report = cache, report
        self._extra: list[str] = []

    async def wanted(self, folder: Path) -> AsyncIterator[Pair]:
        """Pairs with a local file; the names of the others are kept."""
        async for pair in pairs(self._mediagate, folder, self._place, self._report.failed):
            if pair.local is not None:
                yield pair
            else:
                self._extra.append(pair.name)

    async def store(self, thread: BlockingThread, pair: Pair) -> None:
        try:
            same = await is_same(thread, self._cache, pair)
            kind = Kind.SAME if same else await self._put(thread, pair)
        except (MediagateError, OSError) as error:
            self._report.failed(pair.name, error)
        else:
            size_bytes = pair.local.state.size_bytes if pair.local else 0
            self._report.note(Action(kind, pair.name, size_bytes))

    async def _put(self, thread: BlockingThread, pair: Pair) -> Kind:
        assert pair.local is not None
        if self._options.dry_run:
            return Kind.PUT
        path = pair.local.path
        key = self._place.prefix + pair.name
        info = await self._mediagate.put(
            self._place.bucket, key, path, journal=self._options.journal
        )
        stored = info.digest(NAME)
        state = State.of(await thread.run(path.stat))
        if stored is not None and state == pair.local.state:
            await thread.run(self._cache.keep, path, state, stored)
        return Kind.PUT

    async def delete(self) -> None:
        if self._options.dry_run:
            for name in self._extra:
                self._report.note(Action(Kind.DELETE, name))
            return
        keys = [self._place.prefix + name for name in self._extra]
        async for removal in self._mediagate.delete_many(self._place.bucket, keys):
            name = removal.key[len(self._place.prefix) :]
            if removal.status == "failed":
                detail = (removal.problem or {}).get("detail", "it was not deleted")
                self._report.failed(name, Conflict(str(detail)))
            else:
                self._report.note(Action(Kind.DELETE, name))
