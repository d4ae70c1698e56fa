"""The state machine over the whole application, on stores in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.door import Door
from tests.machine.machine import Objects
from tests.web.serving import ROOT_KEY, make_settings, running

EXAMPLES = int(os.environ.get("MEDIAGATE_TEST_MACHINE_EXAMPLES", "0"))
"""0: the short form, the same every time."""


@pytest.fixture
def door() -> Iterator[Door]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(running(make_settings())))
        door = Door(service.url, ROOT_KEY, runner)
        yield door
        door.close()
        runner.run(stack.aclose())


@pytest.mark.timeout(7200 if EXAMPLES else 120)
def test_every_sequence_of_requests_is_what_the_model_says(door: Door) -> None:
    Objects.door = door
    run_state_machine_as_test(
        Objects,
        settings=settings(
            max_examples=EXAMPLES or 25,
            stateful_step_count=40,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
