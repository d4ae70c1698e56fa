"""How long the machine runs: short and the same every time, or for long and at random."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.door import Door
from tests.machine.machine import Objects

EXAMPLES = int(os.environ.get("MEDIAGATE_TEST_MACHINE_EXAMPLES", "0"))
"""Sequences of a long run; 0: the short form."""
LONGEST_S = 7200
QUICK = [Phase.explicit, Phase.generate]
"""Without making a failure shorter, which takes longer than a test may."""


def run_machine(door: Door, *, examples: int, steps: int = 40) -> None:
    """examples: sequences of the short form. steps: at most, of each."""
    Objects.door = door
    run_state_machine_as_test(
        Objects,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not EXAMPLES,
            phases=[*QUICK, Phase.shrink] if EXAMPLES else QUICK,
            report_multiple_bugs=False,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
