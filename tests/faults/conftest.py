"""Tens of thousands of faults are logged by nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.settings import Telemetry
from service.telemetry.logging import configure_logging


@pytest.fixture(scope="module", autouse=True)
def _only_surprises_are_logged() -> Iterator[None]:
    configure_logging(Telemetry(log_format="json", log_level="error"))
    yield
    configure_logging(Telemetry(log_format="json"))
