"""prefix -> folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from service.client.api import AsyncMediagate
from service.client.checksum import NAME
from service.client.io_thread import BlockingThread
from service.client.sources import State
from service.client.sync.crew import each
from service.client.sync.digest_cache import DigestCache
from service.client.sync.local_tree import LocalFile
from service.client.sync.pairing import Pair, Place, is_same, pairs, path_of
from service.client.sync.report import Action, Kind, Report, SyncOptions
from service.errors import MediagateError


async def sync_down(
    mediagate: AsyncMediagate,
    place: Place,
    folder: Path,
    options: SyncOptions,
    cache: DigestCache,
    report: Report,
) -> None:
    """Fetch what the folder lacks or has otherwise. With `delete`, what the prefix lacks goes at
    the end, and only if nothing failed."""
    run = _Download(mediagate, place, folder, options, cache, report)
    async with BlockingThread() as thread:
        if not options.dry_run:
            await thread.run(_make_folder, folder)
        await each(run.wanted(), run.fetch, workers=options.parallel)
        if options.delete and not report.counts[Kind.FAILED]:
            await thread.run(run.delete)


class _Download:
    def __init__(
        self,
        mediagate: AsyncMediagate,
        place: Place,
        folder: Path,
        options: SyncOptions,
        cache: DigestCache,
        report: Report,
    ) -> None:
        self._mediagate, self._place, self._folder = mediagate, place, folder
        self._options, self._cache, self._report = options, cache, report
        self._extra: list[LocalFile] = []

    async def wanted(self) -> AsyncIterator[Pair]:
        """Pairs with an object; the files of the others are kept."""
        found = pairs(
            self._mediagate, self._folder, self._place, self._report.failed, may_lack=True
        )
        async for pair in found:
            if pair.remote is not None:
                yield pair
            elif pair.local is not None:
                self._extra.append(pair.local)

    async def fetch(self, thread: BlockingThread, pair: Pair) -> None:
        try:
            same = await is_same(thread, self._cache, pair)
            kind = Kind.SAME if same else await self._get(thread, pair)
        except (MediagateError, OSError) as error:
            self._report.failed(pair.name, error)
        else:
            size_bytes = pair.remote.size_bytes if pair.remote else 0
            self._report.note(Action(kind, pair.name, size_bytes))

    async def _get(self, thread: BlockingThread, pair: Pair) -> Kind:
        path = path_of(self._folder, pair.name)
        if self._options.dry_run:
            return Kind.GET
        await thread.run(_make_folder, path.parent)
        key = self._place.prefix + pair.name
        download = await self._mediagate.get_to_file(self._place.bucket, key, path)
        digest = download.digests.get(NAME)
        if digest is not None:
            state = State.of(await thread.run(path.stat))
            await thread.run(self._cache.keep, path, state, digest)
        return Kind.GET

    def delete(self) -> None:
        """Blocks. Folders that become empty go too."""
        for file in self._extra:
            if not self._options.dry_run:
                file.path.unlink(missing_ok=True)
                for folder in file.path.parents:
                    if folder == self._folder:
                        break
                    with contextlib.suppress(OSError):  # something else is in it
                        folder.rmdir()
            self._report.note(Action(Kind.DELETE, file.name))


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
