"""The state machine over the whole application, on stores in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.machine.door import Door
from tests.machine.run import EXAMPLES, LONGEST_S, run_machine
from tests.web.serving import ROOT_KEY, make_settings, running


@pytest.fixture
def door() -> Iterator[Door]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(running(make_settings())))
        door = Door(service.url, ROOT_KEY, runner)
        yield door
        door.close()
        runner.run(stack.aclose())


@pytest.mark.timeout(LONGEST_S if EXAMPLES else 120)
def test_every_sequence_of_requests_is_what_the_model_says(door: Door) -> None:
    run_machine(door, examples=20)
