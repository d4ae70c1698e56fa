"""`make scale` on a few objects: that it asks for every kind of page, not what these cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pymongo
import pytest

from service.devstack import Stack
from tests.load.scale.pages import kinds

ROOT = Path(__file__).parents[2]


def scale(metadata: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.scale", "--metadata", metadata, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(60)
def test_the_embedded_server_is_not_measured(devstack: Stack) -> None:
    assert scale(devstack.metadata_url).startswith("not measured")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("engine", ["mongo", "sqlite"])
def test_a_small_run_fills_both_buckets_and_tells_every_kind_of_page(
    devstack: Stack, tmp_path: Path, engine: str
) -> None:
    metadata = devstack.metadata_url if engine == "mongo" else "sqlite"
    options = ("--data", str(tmp_path), "--even-embedded", "--sizes", "40", "80", "--rounds", "1")
    rows = scale(metadata, *options).splitlines()
    assert rows[0].split()[-3:] == ["40", "80", "ratio"]
    for kind, row in zip(kinds(40), rows[1:], strict=True):
        assert row.startswith(kind.name)
        small, large = (float(cell) for cell in row.removesuffix(" *").split()[-3:-1])
        assert small > 0
        assert large > 0
    assert not list(tmp_path.iterdir())
    with pymongo.MongoClient(devstack.metadata_url) as client:
        assert not [name for name in client.list_database_names() if "scale" in name]
