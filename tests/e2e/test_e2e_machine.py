"""The state machine over the installed service, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.installation import ROOT_KEY, Installation, Process
from tests.machine.door import Door
from tests.machine.run import EXAMPLES, LONGEST_S, run_machine

ENGINES = {True: 5, False: 12}
"""Sequences, with a MongoDB server and without: the embedded one takes 30 ms for each change."""


@pytest.fixture
def door(service: Process) -> Iterator[Door]:
    with asyncio.Runner() as runner:
        door = Door(service.url, ROOT_KEY, runner)
        yield door
        door.close()


@pytest.mark.timeout(LONGEST_S if EXAMPLES else 150)
def test_every_sequence_of_requests_is_what_the_model_says_on_real_servers(
    door: Door, installation: Installation
) -> None:
    run_machine(door, examples=ENGINES[installation.stack.metadata is not None])
