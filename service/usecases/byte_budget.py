"""The process-wide byte budget for parts in flight, and why it cannot deadlock.

Every upload fills one part at a time on a `Lane` and takes bytes from the budget as they arrive, a
grain at a time, before it reads on: an upload that gets none stops reading its socket. A filled
part keeps its bytes until the store has acknowledged it, which happens by itself; a half-filled
part only gives its bytes back once it is filled. A hundred half-filled parts could therefore wait
for each other for ever.

So one lane, the oldest that is being filled, has the right of way. Any other lane gets bytes only
while so much stays free that the oldest could fill the largest part now being filled. The oldest
can always go on, gives its bytes back when its part is stored, and the next one becomes the oldest.
"""

from __future__ import annotations

import asyncio
from collections import deque

GRAIN_BYTES = 256 << 10


class Lane:
    """One part being filled. `held_bytes` belongs to it until `release`."""

    __slots__ = ("_budget", "held_bytes", "part_bytes")

    def __init__(self, budget: ByteBudget, part_bytes: int) -> None:
        self._budget = budget
        self.part_bytes = part_bytes
        self.held_bytes = 0

    async def reserve(self, size_bytes: int) -> None:
        """Wait until the lane holds at least that many bytes, up to the part's own size."""
        size_bytes = min(size_bytes, self.part_bytes)
        while self.held_bytes < size_bytes:
            grain = min(GRAIN_BYTES, self.part_bytes - self.held_bytes)
            await self._budget._take(self, grain)

    def filled(self) -> None:
        """The part is complete: the lane gives up its turn and keeps its bytes."""
        self._budget._leave(self)

    def release(self) -> None:
        """Give everything back; harmless when repeated."""
        self._budget._leave(self)
        self._budget._give_back(self)


class ByteBudget:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._used = 0
        self._filling: dict[Lane, None] = {}
        self._waiting: deque[tuple[Lane, int, asyncio.Future[None]]] = deque()

    @property
    def used_bytes(self) -> int:
        return self._used

    @property
    def free_bytes(self) -> int:
        return self.limit_bytes - self._used

    @property
    def contended(self) -> bool:
        """Whether some upload waits for bytes now."""
        return bool(self._waiting)

    def lane(self, part_bytes: int) -> Lane:
        """A lane for the next part; part_bytes <= limit_bytes."""
        if part_bytes > self.limit_bytes:
            raise ValueError("a part cannot be larger than the byte budget")
        return Lane(self, part_bytes)

    async def _take(self, lane: Lane, size_bytes: int) -> None:
        self._filling.setdefault(lane, None)
        if self._grant(lane, size_bytes):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (lane, size_bytes, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                return_bytes = size_bytes
                lane.held_bytes -= return_bytes
                self._used -= return_bytes
            else:
                self._waiting.remove(entry)
            self._wake()
            raise

    def _grant(self, lane: Lane, size_bytes: int) -> bool:
        if not self._fits(lane, size_bytes):
            return False
        lane.held_bytes += size_bytes
        self._used += size_bytes
        return True

    def _fits(self, lane: Lane, size_bytes: int) -> bool:
        oldest = next(iter(self._filling))
        if lane is oldest:
            return size_bytes <= self.free_bytes
        largest = max(other.part_bytes for other in self._filling)
        return self.free_bytes - size_bytes + oldest.held_bytes >= largest

    def _leave(self, lane: Lane) -> None:
        self._filling.pop(lane, None)
        self._wake()

    def _give_back(self, lane: Lane) -> None:
        self._used -= lane.held_bytes
        lane.held_bytes = 0
        self._wake()

    def _wake(self) -> None:
        """Grant what fits, in the order of asking; a big wish does not hold up a small one."""
        still: deque[tuple[Lane, int, asyncio.Future[None]]] = deque()
        while self._waiting:
            lane, size_bytes, turn = self._waiting.popleft()
            if turn.cancelled():
                still.append((lane, size_bytes, turn))  # its waiter removes it itself
            elif self._grant(lane, size_bytes):
                turn.set_result(None)
            else:
                still.append((lane, size_bytes, turn))
        self._waiting = still
