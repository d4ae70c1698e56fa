"""The crash matrix: every effect of every operation x every fault x every rival.

A case is `story/number/mode/rival.moment/dialect`; a failing one prints its name, and
`MATRIX_CASE=that-name pytest tests/faults/test_crash_matrix.py` replays it alone. Numbers count the
effects of the struck process from 1; a rival runs before the struck effect, after it, or mixed with
everything that follows. The order of all steps follows from the name of the case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from inspect import iscoroutinefunction

import pytest

from service.stores.ports import (
    BlobStore,
    BucketStore,
    ResumableLedger,
    UploadLedger,
    VersionIndex,
)
from tests.faults.history import Kind, Outcome
from tests.faults.invariants import check, check_reads, made_by
from tests.faults.process import EFFECTS, KILLS, READS, Fault, Mode, Process, applies
from tests.faults.recovery import clean, settle
from tests.faults.stories import COMES_BACK, RIVALS, STORIES, Story
from tests.faults.world import World

pytestmark = pytest.mark.timeout(60)  # two seconds, but not on a busy machine
BY_NAME = {story.name: story for story in STORIES}
MIXED = ("mixed", "mixed-2", "mixed-3")
DIALECTS = {"once": False, "again": True}
ONLY = os.environ.get("MATRIX_CASE")


@dataclass(frozen=True)
class Case:
    story: Story
    number: int
    mode: Mode
    rival: str
    moment: str
    dialect: str

    def __str__(self) -> str:
        rival = f"{self.rival}.{self.moment}" if self.moment else self.rival
        return f"{self.story.name}/{self.number}/{self.mode}/{rival}/{self.dialect}"

    def play(self) -> Process:
        """Tell the story with the fault; every promise that was broken is in world.violations."""
        world = World(
            complete_again=DIALECTS[self.dialect],
            seed=str(self) if self.moment in MIXED else None,
        )
        played: list[Process] = []
        try:
            world.run(self._tell(world, played))
        finally:
            world.close()
        return played[0]

    async def _tell(self, world: World, played: list[Process]) -> None:
        await world.begin()
        await self.story.scene(world)
        rival = RIVALS[self.rival]
        if rival is not None:
            moment = "before" if self.moment in MIXED else self.moment
            world.racers[moment] = lambda: rival(world)
        process = await self.story.run(world, Fault(self.mode, self.number))
        played.append(process)
        if process.struck is None:
            return
        await world.finish_races()
        await settle(world)
        await self.story.afterwards(world)
        await clean(world)
        await check_reads(world)
        check(world)
        self._check_told(world, process)

    def _check_told(self, world: World, process: Process) -> None:
        """What one fault alone must not keep from happening."""
        operation, struck = process.operation, process.struck
        if self.rival != "alone" or operation is None or struck is None:
            return
        heals = self.mode is Mode.LOST and struck.effect in self.story.heals
        if heals or self.mode is Mode.READ_BACK:
            told = operation.outcome is Outcome.ACKNOWLEDGED
            world.expect(told, f"one lost answer and {operation}")
        if operation.kind is Kind.PUT and struck.effect == "uploads.commit" and self.mode in KILLS:
            done = operation in made_by(world)
            world.expect(done, f"{operation} was whole in the store, and is not rolled forward")


@cache
def effects_of(story: Story) -> tuple[str, ...]:
    """The effects of its operation, in order, when nothing goes wrong."""
    return tuple(Case(story, 0, Mode.LOST, "alone", "", "once").play().effects)


def moments_of(mode: Mode, rival: str) -> tuple[str, ...]:
    """A process that is dead or cut off does nothing more, so there is nothing to mix with, nor
    is there an after to an effect that never was."""
    if RIVALS[rival] is None:
        return ("",)
    if mode is Mode.BEFORE:
        return ("before",)
    silent = mode in KILLS or mode is Mode.CUT
    if silent:
        return ("before", "after")
    # Two sweepers meet in more ways than one order of steps can show.
    return ("before", "after", *(MIXED if rival.startswith("sweeper") else MIXED[:1]))


def cases_of(story: Story, mode: Mode, rival: str) -> Iterator[Case]:
    if mode is Mode.GONE and not story.asked:
        return
    if rival == COMES_BACK and not story.resumes:
        return
    for number, effect in enumerate(effects_of(story), start=1):
        if not applies(mode, effect):
            continue
        for moment in moments_of(mode, rival):
            for dialect in DIALECTS if effect == "blobs.complete" else ("once",):
                yield Case(story, number, mode, rival, moment, dialect)


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("story", BY_NAME)
def test_every_effect(story: str, mode: Mode, rival: str) -> None:
    failures, played = [], 0
    for case in cases_of(BY_NAME[story], mode, rival):
        if ONLY not in (None, str(case)):
            continue
        played += 1
        process = case.play()
        process.world.expect(process.struck is not None, "there is no effect of that number")
        if process.world.violations:
            told = "\n    ".join(process.world.violations)
            failures.append(f"{case} ({effects_of(case.story)[case.number - 1]})\n    {told}")
    if ONLY and not played:
        pytest.skip(f"not {ONLY}")
    if failures:
        pytest.fail("\n" + "\n".join(failures), pytrace=False)


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        ("blobs", BlobStore),
        ("versions", VersionIndex),
        ("uploads", UploadLedger),
        ("resumables", ResumableLedger),
        ("buckets", BucketStore),
    ],
)
def test_every_method_of_a_port_is_an_effect_or_a_read(port: str, protocol: type) -> None:
    methods = {name for name, found in vars(protocol).items() if iscoroutinefunction(found)}
    assert methods == EFFECTS[port] | READS[port]
