"""The process-wide byte budget for parts in flight, and why nobody waits for ever.

Every upload fills one part at a time on a `Lane` and takes bytes from the budget as they arrive, a
grain at a time, before it reads on: an upload that gets none stops reading its socket. A filled
part keeps its bytes until the store has acknowledged it, which happens by itself; a half-filled
part only gives its bytes back once it is filled. A hundred half-filled parts could therefore wait
for each other for ever.

So room for whole parts is kept free, and once everything else is taken, it goes to single lanes as
their right of way: whoever has it can fill its part whatever the others do. Two have it at a time
(one where parts are large for the budget), and only lanes that wait for bytes get it. The `swift`
one is expected to be done first, since while it fills, everyone else waits for its client. The
`due` one has waited longest, so that slow clients get on too. Where only one can have it, the two
take turns. A lane whose client turns slow steps aside: the right goes to somebody who can fill his
part with what is left, and once he has, there is as much again as before. By induction somebody
can always go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from enum import Enum

GRAIN_BYTES = 256 << 10
QUICK_BYTES_S = 1 << 20
"""What nothing is known of yet counts as just quick enough."""
_PARTS_FOR_TWO = 4
"""How many of the largest parts the budget must hold before two are kept free."""


class Lane:
    """One part being filled. `held_bytes` belongs to it until `release`.

    pace_bytes_s: how fast its client sends when it may; whoever fills the lane keeps it up to date.
    """

    __slots__ = ("_budget", "held_bytes", "pace_bytes_s", "part_bytes")

    def __init__(self, budget: ByteBudget, part_bytes: int) -> None:
        self._budget = budget
        self.part_bytes = part_bytes
        self.pace_bytes_s: float = QUICK_BYTES_S
        self.held_bytes = 0

    @property
    def missing_bytes(self) -> int:
        return self.part_bytes - self.held_bytes

    def is_empty(self) -> bool:
        return self.held_bytes == 0

    @property
    def is_quick(self) -> bool:
        return self.pace_bytes_s >= QUICK_BYTES_S

    async def reserve(self, size_bytes: int) -> None:
        """Wait until the lane holds at least that many bytes, up to the part's own size."""
        size_bytes = min(size_bytes, self.part_bytes)
        while self.held_bytes < size_bytes:
            await self._budget._take(self, min(GRAIN_BYTES, self.missing_bytes))

    def filled(self) -> None:
        """The part is complete: the lane gives up its turn and keeps its bytes."""
        self._budget._leave(self)

    def step_aside(self) -> None:
        """The client is what this lane waits for: a right of way is better used by others."""
        self._budget._take_right_from(self)

    def release(self) -> None:
        """Give everything back; harmless when repeated."""
        self._budget._give_back(self)


class _Right(Enum):
    SWIFT = "swift"
    DUE = "due"


class ByteBudget:
    """Hands out bytes; `_room_bytes` and `_choose` keep the promise that nobody waits for ever."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._used = 0
        self._filling: set[Lane] = set()
        self._sizes: Counter[int] = Counter()  # of their parts: few, where lanes may be thousands
        self._waiting: dict[Lane, tuple[int, asyncio.Future[None]]] = {}
        self._rights: dict[_Right, Lane] = {}
        self._turn = _Right.SWIFT

    @property
    def used_bytes(self) -> int:
        return self._used

    @property
    def free_bytes(self) -> int:
        return self.limit_bytes - self._used

    @property
    def unclaimed_bytes(self) -> int:
        """What is left once every part that is being filled is full; negative where it is short."""
        return self.free_bytes - sum(lane.missing_bytes for lane in self._filling)

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
        if lane not in self._filling:
            self._filling.add(lane)
            self._sizes[lane.part_bytes] += 1
        first_come = not self._waiting and size_bytes <= self._room_bytes()
        if first_come or lane in self._rights.values():
            self._grant(lane, size_bytes)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane] = size_bytes, turn
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(lane, None) is None:
                self._grant(lane, -size_bytes)
            self._wake()
            raise

    def _grant(self, lane: Lane, size_bytes: int) -> None:
        lane.held_bytes += size_bytes
        self._used += size_bytes

    def _leave(self, lane: Lane) -> None:
        if lane in self._filling:
            self._filling.discard(lane)
            self._sizes[lane.part_bytes] -= 1
            if not self._sizes[lane.part_bytes]:
                del self._sizes[lane.part_bytes]
        self._take_right_from(lane)

    def _take_right_from(self, lane: Lane) -> None:
        self._rights = {right: held for right, held in self._rights.items() if held is not lane}
        self._wake()

    def _give_back(self, lane: Lane) -> None:
        self._used -= lane.held_bytes
        lane.held_bytes = 0
        self._leave(lane)

    def _wake(self) -> None:
        """Grant what fits, then give away the rights that nobody has.

        In the order of asking, but parts that are begun first, and not too many new ones at once:
        the fewer are half-filled, the better, and those that are then wait for their clients, who
        can be told 408.
        """
        room = self._room_bytes() if self._waiting else 0
        keep = room * 7 // 8
        for lane in sorted(self._waiting, key=Lane.is_empty) if room > 0 else ():
            size_bytes, _ = self._waiting[lane]
            if lane.is_empty() and room < keep:
                break
            if size_bytes <= room:
                room -= size_bytes
                self._satisfy(lane)
        for right in self._free_rights():
            self._give_away(right, self._choose(right))
        if not self._rights and len(self._waiting) == len(self._filling):
            # Lanes that stepped aside may have used up more than is kept for one right; but whoever
            # had a right last can still be filled.
            self._give_away(_Right.SWIFT, self._soonest(self._able(self._unpromised_bytes())))

    def _give_away(self, right: _Right, lane: Lane | None) -> None:
        if lane is not None:
            self._rights[right] = lane
            self._satisfy(lane)

    def _satisfy(self, lane: Lane) -> None:
        size_bytes, turn = self._waiting.pop(lane)
        self._grant(lane, size_bytes)
        if not turn.cancelled():
            turn.set_result(None)

    def _room_bytes(self) -> int:
        """What lanes without a right of way may take.

        As much stays free that once those with a right are done, and their parts stored, there is
        a whole part again for each right.
        """
        held = sum(lane.held_bytes for lane in self._rights.values())
        kept = self._count_of_rights() * self._largest_part() - held
        return min(self.free_bytes - kept, self._unpromised_bytes())

    def _unpromised_bytes(self) -> int:
        return self.free_bytes - sum(lane.missing_bytes for lane in self._rights.values())

    def _largest_part(self) -> int:
        return max(self._sizes, default=0)

    def _count_of_rights(self) -> int:
        return 2 if _PARTS_FOR_TWO * self._largest_part() <= self.limit_bytes else 1

    def _free_rights(self) -> list[_Right]:
        if self._count_of_rights() == 2:
            return [right for right in _Right if right not in self._rights]
        if self._rights:
            return []
        self._turn = _Right.DUE if self._turn is _Right.SWIFT else _Right.SWIFT
        return [self._turn]

    def _choose(self, right: _Right) -> Lane | None:
        """Somebody for a right that nobody has, if there is anybody.

        Where there are two, slow clients get the `due` one only: they step aside time and again,
        and the part that is kept for the `swift` one must not be eaten up by that.
        """
        unpromised, two = self._unpromised_bytes(), self._count_of_rights() == 2
        if right is _Right.SWIFT:
            able = self._able(unpromised)
            return self._soonest(lane for lane in able if not two or lane.is_quick)
        kept = self._largest_part() if two and _Right.SWIFT not in self._rights else 0
        return next(self._able(unpromised - kept), None)

    def _able(self, free_bytes: int) -> Iterator[Lane]:
        """Those whose part could be filled with that much, in the order of asking."""
        return (lane for lane in self._waiting if lane.missing_bytes <= free_bytes)

    @staticmethod
    def _soonest(lanes: Iterator[Lane]) -> Lane | None:
        return min(lanes, key=lambda lane: lane.missing_bytes / lane.pace_bytes_s, default=None)
