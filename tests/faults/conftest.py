"""What the tests with real servers share; and tens of thousands of faults are logged by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import Telemetry
from service.telemetry.logging import configure_logging
from tests.faults.real_world import World
from tests.faults.report import Report
from tests.faults.servers import Servers, running_servers


@pytest.fixture(scope="module", autouse=True)
def _only_surprises_are_logged() -> Iterator[None]:
    configure_logging(Telemetry(log_format="json", log_level="error"))
    yield
    configure_logging(Telemetry(log_format="json"))


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """One for all: each would write it anew."""
    figures = Report()
    yield figures
    figures.write()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
def world(servers: Servers, tmp_path: Path, report: Report, engine: str) -> Iterator[World]:
    """engine: a fixture or parameter of whoever asks."""
    made = World(servers, tmp_path, report, engine)
    yield made
    made.installation.kill_all()
