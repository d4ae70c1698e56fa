"""Counting in several processes at once: each writes files in one folder, a scrape adds them up.

`prometheus_client` does so where `SHARED_FOLDER` is set when it is first imported; the supervisor
sets it for its workers. What a worker counted stays in the sums after its end, what it was just
doing (gauges of a `live…` mode) goes with it. Files are named for a worker's number, not for its
process as the library would: its successor counts on in the same, so that a worker which dies again
and again leaves no more files to read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, values
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


def count_as(worker: int) -> None:
    """Before the first metric is made: which of them this process is; never two at a time."""
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def forget_worker(worker: int, folder: Path) -> None:
    """It has ended: what it was doing counts no longer."""
    mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]


def render_all() -> bytes:
    """The sums over all processes. Reads files: not for the event loop's thread."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
