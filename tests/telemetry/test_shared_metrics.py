"""Processes that count together: real ones, as the library decides when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.telemetry.shared_metrics import SHARED_FOLDER, forget_worker, shared_folder

PRELUDE = """
from service.telemetry.metrics import Metrics
from service.telemetry.shared_metrics import count_as
count_as({worker})
metrics = Metrics()
"""
OBSERVER = 99


@pytest.fixture
def folder() -> Iterator[Path]:
    with shared_folder() as made:
        yield made
    assert not made.exists()


def run(folder: Path, worker: int, code: str) -> str:
    """What a process that ran the code printed."""
    ran = subprocess.run(
        [sys.executable, "-c", PRELUDE.format(worker=worker) + code],
        env={**os.environ, SHARED_FOLDER: str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    return ran.stdout


def scrape(folder: Path) -> dict[str, float]:
    """By a process that does nothing else."""
    text = run(folder, OBSERVER, "print(metrics.render().decode())")
    lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, _, value in lines}


def test_counters_are_added_up_and_stay_when_a_process_ends(folder: Path) -> None:
    for worker in (1, 2):
        run(
            folder,
            worker,
            f"for _ in range({worker}): metrics.request_done('/healthz', 'GET', 200, 0.02)",
        )
        forget_worker(worker, folder)
    found = scrape(folder)
    labels = 'method="GET",route="/healthz"'
    assert found[f'mediagate_requests_total{{{labels},status="200"}}'] == 3
    assert found[f"mediagate_request_duration_seconds_count{{{labels}}}"] == 3
    assert found[f'mediagate_request_duration_seconds_bucket{{le="0.01",{labels}}}'] == 0
    assert found[f'mediagate_request_duration_seconds_bucket{{le="0.025",{labels}}}'] == 3


def test_what_goes_on_is_added_up_and_ends_with_its_process(folder: Path) -> None:
    run(folder, 1, "metrics.connections.inc(3); metrics.requests_in_flight.inc()")
    run(folder, 2, "metrics.connections.inc(4)")
    assert scrape(folder)["mediagate_connections"] == 7
    forget_worker(1, folder)
    found = scrape(folder)
    assert found["mediagate_connections"] == 4
    assert found["mediagate_requests_in_flight"] == 0


def test_a_breaker_is_open_where_any_worker_says_so(folder: Path) -> None:
    run(folder, 1, "metrics.watch_breaker('blobs', lambda: True); metrics.refresh()")
    text = run(
        folder, 2, "metrics.watch_breaker('blobs', lambda: False); print(metrics.render().decode())"
    )
    assert 'mediagate_breaker_open{store="blobs"} 1.0' in text


def test_the_budget_is_told_by_each_and_added_up(folder: Path) -> None:
    run(folder, 1, "metrics.watch_budget(lambda: 7, 100); metrics.refresh()")
    text = run(folder, 2, "metrics.watch_budget(lambda: 5, 100); print(metrics.render().decode())")
    assert "mediagate_budget_used_bytes 12.0" in text
    assert "mediagate_budget_limit_bytes 200.0" in text


def test_of_what_was_looked_at_the_last_look_counts_whoever_lives(folder: Path) -> None:
    run(folder, 1, "metrics.set_ledger({'open': 3, 'undone': 0}); metrics.journal_pending.set(9)")
    run(folder, 2, "metrics.set_ledger({'open': 0, 'undone': 2}); metrics.journal_pending.set(4)")
    forget_worker(2, folder)
    found = scrape(folder)
    assert found['mediagate_ledger_uploads{state="open"}'] == 0
    assert found['mediagate_ledger_uploads{state="undone"}'] == 2
    assert found["mediagate_journal_pending_events"] == 4


def test_of_the_ends_of_cycles_the_latest_counts(folder: Path) -> None:
    for worker, day in enumerate((3, 2), start=1):
        run(
            folder,
            worker,
            f"import datetime\n"
            f"metrics.set_scrub(datetime.datetime(2026, 1, {day}, tzinfo=datetime.UTC))",
        )
    found = scrape(folder)
    assert found['mediagate_cycle_finished_timestamp_seconds{worker="scrubber"}'] == 1767398400


def test_a_successor_counts_on_and_adds_no_files(folder: Path) -> None:
    counts = []
    for _ in range(3):
        run(folder, 1, "metrics.bytes_in.inc(5); metrics.connections.inc()")
        counts.append(len(list(folder.iterdir())))
        forget_worker(1, folder)
    found = scrape(folder)
    assert found["mediagate_received_bytes_total"] == 15
    assert found["mediagate_connections"] == 0
    assert counts[0] == counts[-1]
