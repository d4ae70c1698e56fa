"""`make bench` on a few bytes: that every figure is there, not what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_minio
from tests.load.bench.clients import missing_tools
from tests.load.bench.meters import figure
from tests.load.bench.report import Report

ROOT = Path(__file__).parents[2]
WAYS = {"direct", "nginx", "plain", "mediagate"}


@pytest.mark.slow
@pytest.mark.minio
@pytest.mark.timeout(120)
def test_a_short_run_measures_every_way(tmp_path: Path) -> None:
    require_minio()
    if missing := missing_tools():
        pytest.skip(f"there is no {', '.join(missing)}")
    size = ["--rounds", "1", "--mib", "8", "--seconds", "1", "--out", str(tmp_path / "bench")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.bench", "--only", "transfers,small,workers", *size],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((tmp_path / "bench.json").read_text())
    kinds = ("upload", "download", "8 uploads", "8 downloads", "first byte", "16 KiB GET")
    for kind in (*kinds, "16 KiB PUT"):
        small = {"on SQLite"} if "16 KiB" in kind else set()
        assert {*run["figures"][kind]} == WAYS | small, kind
    assert run["ratios"]["download"]["MB/s / nginx"] > 0
    assert run["ratios"]["upload, unknown length"]["MB/s / nginx"] > 0
    assert {*run["figures"]["16 KiB GET by workers"]} == {"1 worker", "2 workers"}
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    assert "| download | MB/s |" in (tmp_path / "bench.md").read_text()
    assert not list(Path("/dev/shm").glob("mediagate-bench-*"))


def test_ratios_compare_medians() -> None:
    report = Report()
    report.add("download", "nginx", "MB/s", figure([1, 100, 1000]))
    report.add("download", "mediagate", "MB/s", figure([50, 0, 60]))
    report.add("download", "direct", "MB/s", figure([200]))
    assert report.ratios()["download"] == {"MB/s / nginx": 0.5, "MB/s / direct": 0.25}
