"""Cuts a body into parts: lists of the chunks that arrived, never joined and never copied.

A chunk that crosses the end of a part is split with memoryviews, so that all parts but the last
have the planned size (some stores insist). Bytes come out of the process-wide budget before they
are read; the part owns them until `release`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from service.errors import SlowClient, TooLarge
from service.usecases.byte_budget import GRAIN_BYTES, QUICK_BYTES_S, ByteBudget, Lane
from service.usecases.digests import crc64nvme

RATE_WINDOW_S = 10.0
LOOK_S = 0.5
_DOUBT_S = 1.0


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
    min_rate_bytes_s: a slower client, or a silent one, raises SlowClient while other uploads wait
    for the budget; only time spent waiting for the client counts. salvages: the part that was being
    filled when the body failed is kept as `salvaged`.
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
        salvages: bool = False,
    ) -> None:
        self._body = body
        self._budget = budget
        self._part_bytes = part_bytes
        self._declared = declared_size_bytes
        self._max_bytes = max_bytes
        self._min_rate = min_rate_bytes_s
        self._rest: memoryview | None = None
        self._number = 0
        self._waiting_since: float | None = None
        self._waited_s = 0.0
        self._window_s = 0.0
        self._window_bytes = 0
        self._salvages = salvages
        self.salvaged: FilledPart | None = None
        self.size_bytes = 0
        self.ended = False

    async def next_part(self) -> FilledPart:
        """The next part; the last one (`ended` is true then) may be short, even empty.

        Errors of the body pass through, the part's bytes given back unless they are salvaged.
        """
        self._number += 1
        planned = self._part_bytes(self._number)
        lane = self._budget.lane(self._needed(planned))
        lane.pace_bytes_s = self._pace_bytes_s()
        part = FilledPart(lane)
        try:
            async with asyncio.timeout(None) as patience:
                with self._watched(lane, patience):
                    await self._fill(lane, part, planned)
            lane.filled()
        except BaseException as error:
            self._give_up(lane, part)
            if isinstance(error, TimeoutError) and patience.expired():
                raise SlowClient(
                    f"fewer than {self._min_rate} bytes a second while others wait for memory"
                ) from error
            raise
        return part

    def _give_up(self, lane: Lane, part: FilledPart) -> None:
        if self._salvages and part.size_bytes:
            lane.filled()
            self.salvaged = part
        else:
            part.release()

    async def _fill(self, lane: Lane, part: FilledPart, planned: int) -> None:
        while part.size_bytes < planned:
            chunk = await self._next_chunk(lane, part, planned)
            if chunk is None:
                self.ended = True
                return
            self._add(part, chunk, planned)

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
        self._waiting_since = time.monotonic()
        arrived = await anext(self._body, None)
        self._note_arrival(lane, len(arrived) if arrived else 0)
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

    def _note_arrival(self, lane: Lane, arrived_bytes: int) -> None:
        waited_s = self._wait_s()
        self._waiting_since = None
        self._waited_s += waited_s
        if self._window_s >= 2 * RATE_WINDOW_S:
            self._window_s, self._window_bytes = 0.0, 0
        self._window_s += waited_s
        self._window_bytes += arrived_bytes
        lane.pace_bytes_s = self._pace_bytes_s()

    def _wait_s(self) -> float:
        return time.monotonic() - self._waiting_since if self._waiting_since is not None else 0.0

    def _pace_bytes_s(self) -> float:
        """Over the whole body. Who sent little yet has proved little, however fast it came: many
        clients that begin and then stall must not come before one that goes on."""
        return (self.size_bytes + _DOUBT_S * QUICK_BYTES_S) / (self._waited_s + _DOUBT_S)

    @contextmanager
    def _watched(self, lane: Lane, patience: asyncio.Timeout) -> Iterator[None]:
        """While others wait for the budget: step aside when it is the client that we wait for, end
        `patience` when it is too slow.

        By a timer, since a client that sends nothing at all must be noticed too.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle
        waited_s = self._waited_s

        def look() -> None:
            nonlocal timer, waited_s
            before_s, waited_s = waited_s, self._waited_s + self._wait_s()
            if self._budget.contended and waited_s - before_s > LOOK_S / 2:
                lane.step_aside()
                if self._is_too_slow():
                    patience.reschedule(loop.time())
                    return
            timer = loop.call_later(LOOK_S, look)

        timer = loop.call_later(LOOK_S, look)
        try:
            yield
        finally:
            timer.cancel()

    def _is_too_slow(self) -> bool:
        window_s = self._window_s + self._wait_s()
        return window_s >= RATE_WINDOW_S and self._window_bytes < self._min_rate * window_s
