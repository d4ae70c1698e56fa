"""Every script in `examples/`, run as a stranger would."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.client.filesystem.conftest import served
from tests.web.serving import ROOT_KEY

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TOLD = {
    "pandas_parquet.py": ["stored 20000 rides", "the mean price is 14.", "500 rides took 44"],
    "duckdb_sql.py": ["month 1: 406", "month 2: 812"],
    "polars_scan.py": ["s0: 498.0", "s3: 501.0"],
    "pytorch_dataset.py": ["epoch 0:", "epoch 1: 64 of 64 right"],
}
DEBIAN = Path("/usr/lib/python3/dist-packages")
"""PyPI's PyTorch for Linux brings gigabytes of CUDA; Debian's is for the processor."""

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def service():
    with served() as service:
        yield service


@pytest.fixture
def python_path(request, tmp_path):
    """Where PyTorch is, for the script that wants it."""
    if request.getfixturevalue("script") != "pytorch_dataset.py" or find_spec("torch"):
        return ""
    if not any((DEBIAN / "torch").glob(f"_C.{sys.implementation.cache_tag}*.so")):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must provide PyTorch (Debian's python3-torch, for its own Python)")
        pytest.skip("there is no PyTorch for this Python (Debian: apt install python3-torch)")
    for name in ("torch", "torchgen"):
        (tmp_path / name).symlink_to(DEBIAN / name)
    return str(tmp_path)


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(TOLD)


@pytest.mark.parametrize("script", sorted(TOLD))
def test_an_example_runs_as_it_is(service, script, python_path):
    address = {"MEDIAGATE_URL": service.url, "MEDIAGATE_KEY": ROOT_KEY, "PYTHONPATH": python_path}
    done = subprocess.run(
        [sys.executable, EXAMPLES / script],
        env=os.environ | address,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in TOLD[script] if line not in done.stdout] == [], done.stdout
    assert "Unclosed" not in done.stderr
