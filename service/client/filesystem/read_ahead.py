"""How much a reader fetches.

fsspec's `readahead` adds a whole block to every read, which makes 6 MiB of a Parquet
column of 1 MiB. Without any, a loop over lines would be a request for each of them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from fsspec.caching import BaseCache, register_cache

_FIRST_BYTES = 64 << 10


class GrowingReadAhead(BaseCache):
    """Adds little to a read that goes elsewhere, and twice as much each time to one that goes on
    where the last one ended, up to a block.

    Keeps the last fetch only, of one over a block what was not read yet.
    """

    name: ClassVar[str] = "growing"

    def __init__(self, blocksize: int, fetcher: Any, size: int) -> None:
        super().__init__(blocksize, fetcher, size)
        self._start = 0
        self._cached = b""
        self._ahead_bytes = 0

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        start = start or 0
        stop = self.size if stop is None else min(stop, self.size)
        if start >= stop:
            return b""
        begin = start - self._start
        end = stop - self._start
        if begin < 0 or begin > len(self._cached):
            self._cached, self._start, self._ahead_bytes = b"", start, 0
            begin, end = 0, stop - start
        if end <= len(self._cached):
            self.hit_count += 1
            return self._cached[begin:end]
        self.miss_count += 1
        self._ahead_bytes = min(2 * self._ahead_bytes or _FIRST_BYTES, self.blocksize)
        kept = self._cached[begin:]
        fetched = kept + self._more(start + len(kept), stop + self._ahead_bytes)
        wanted = fetched[: stop - start]
        if len(wanted) < self.blocksize:
            self._cached, self._start = fetched, start
        else:
            # The reader has it, and memory is dear.
            self._cached, self._start = fetched[len(wanted) :], stop
        return wanted

    def _more(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        self.total_requested_bytes += stop - start
        fetched: bytes = self.fetcher(start, stop)
        return fetched


register_cache(GrowingReadAhead, clobber=True)
