"""Counting in several processes at once: each writes files in one folder, a scrape adds them up.

`prometheus_client` does so where `SHARED_FOLDER` is set when it is first imported; the supervisor
sets it for its workers. What a worker counted stays in the sums after its end, what it was just
doing (gauges of a `live…` mode) goes with it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable; its name is the library's."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for the files, gone with all of them at the end."""
    with tempfile.TemporaryDirectory(prefix="mediagate-metrics-") as folder:
        yield Path(folder)


def is_shared() -> bool:
    """Whether this process is one of several that count together."""
    return SHARED_FOLDER in os.environ


def forget_process(pid: int, folder: Path) -> None:
    """The process has ended: what it was doing counts no longer."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def render_all() -> bytes:
    """The sums over all processes. Reads files: not for the event loop's thread."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
