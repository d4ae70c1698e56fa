"""Cuts a body into parts: lists of the chunks that arrived, never joined and never copied.

A chunk that crosses the end of a part is split with memoryviews, so that all parts but the last
have the planned size (some stores insist). Bytes come out of the process-wide budget before they
are read; the part owns them until `release`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from service.errors import SlowClient, TooLarge
from service.usecases.byte_budget import GRAIN_BYTES, ByteBudget, Lane
from service.usecases.digests import crc64nvme

_RATE_WINDOW_S = 10.0


class FilledPart:
    """Chunks of one part, their length and CRC64NVME."""

    __slots__ = ("_lane", "chunks", "crc", "size_bytes")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.chunks: list[bytes] = []
        self.size_bytes = 0
        self.crc = 0

    @property
    def crc_bytes(self) -> bytes:
        return self.crc.to_bytes(8, "big")

    def append(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size_bytes += len(chunk)
        self.crc = crc64nvme(chunk, self.crc)

    def head(self, size_bytes: int) -> bytes:
        """The first bytes, joined: enough to sniff a type from."""
        head = bytearray()
        for chunk in self.chunks:
            head += chunk[: size_bytes - len(head)]
            if len(head) >= size_bytes:
                break
        return bytes(head)

    def release(self) -> None:
        """Drop the bytes at once: a task or traceback may keep this object alive for long."""
        self.chunks.clear()
        self._lane.release()


class PartStream:
    """part_bytes: the planned size of part N (from 1). max_bytes: more raises TooLarge.

    declared_size_bytes: lets a short body ask the budget for no more than it needs.
    min_rate_bytes_s: a slower client raises SlowClient while other uploads wait for the budget;
    only time spent waiting for the client counts.
    """

    def __init__(
        self,
        body: AsyncIterator[bytes],
        budget: ByteBudget,
        part_bytes: Callable[[int], int],
        *,
        declared_size_bytes: int | None,
        max_bytes: int,
        min_rate_bytes_s: int,
    ) -> None:
        self._body = body
        self._budget = budget
        self._part_bytes = part_bytes
        self._declared = declared_size_bytes
        self._max_bytes = max_bytes
        self._min_rate = min_rate_bytes_s
        self._rest: memoryview | None = None
        self._number = 0
        self._window_s = 0.0
        self._window_bytes = 0
        self.size_bytes = 0
        self.ended = False

    async def next_part(self) -> FilledPart:
        """The next part; the last one (`ended` is true then) may be short, even empty.

        Errors of the body pass through, the part's bytes given back.
        """
        self._number += 1
        planned = self._part_bytes(self._number)
        lane = self._budget.lane(self._needed(planned))
        part = FilledPart(lane)
        try:
            while part.size_bytes < planned:
                chunk = await self._next_chunk(lane, part, planned)
                if chunk is None:
                    self.ended = True
                    break
                self._add(part, chunk, planned)
            lane.filled()
        except BaseException:
            part.release()
            raise
        return part

    def _needed(self, planned: int) -> int:
        if self._declared is None:
            return planned
        read_ahead = len(self._rest) if self._rest is not None else 0
        return min(planned, max(1, self._declared - self.size_bytes + read_ahead))

    async def _next_chunk(self, lane: Lane, part: FilledPart, planned: int) -> memoryview | None:
        if self._rest is not None:
            chunk, self._rest = self._rest, None
            await lane.reserve(part.size_bytes + len(chunk))
            return chunk
        await lane.reserve(min(planned, part.size_bytes + GRAIN_BYTES))
        began = time.monotonic()
        arrived = await anext(self._body, None)
        self._watch_rate(time.monotonic() - began, len(arrived) if arrived else 0)
        if arrived is None:
            return None
        self.size_bytes += len(arrived)
        if self.size_bytes > self._max_bytes:
            raise TooLarge(f"the body is longer than {self._max_bytes} bytes")
        await lane.reserve(part.size_bytes + len(arrived))
        return memoryview(arrived)

    def _add(self, part: FilledPart, chunk: memoryview, planned: int) -> None:
        room = planned - part.size_bytes
        if len(chunk) > room:
            self._rest = chunk[room:]
            chunk = chunk[:room]
        whole = chunk.obj if len(chunk) == len(chunk.obj) else chunk  # type: ignore[arg-type]
        part.append(whole)  # type: ignore[arg-type]

    def _watch_rate(self, waited_s: float, arrived_bytes: int) -> None:
        self._window_s += waited_s
        self._window_bytes += arrived_bytes
        if self._window_s < _RATE_WINDOW_S:
            return
        too_slow = self._window_bytes < self._min_rate * self._window_s
        self._window_s, self._window_bytes = 0.0, 0
        if too_slow and self._budget.contended:
            raise SlowClient(
                f"fewer than {self._min_rate} bytes a second while others wait for memory"
            )
