"""schemathesis against the running service: every operation of its document, every check.

On one pair of servers, since what it looks at does not depend on the store. For a longer look:
`MEDIAGATE_TEST_FUZZ_EXAMPLES=100 MEDIAGATE_TEST_FUZZ_SEED=7 make test ARGS="-k schemathesis"`.
"""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.installation import AUTHORIZED, ROOT_KEY, install

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("MEDIAGATE_TEST_FUZZ_EXAMPLES", "6"))
SEED = os.environ.get("MEDIAGATE_TEST_FUZZ_SEED", "1")
TIMEOUT_S = 90 + 10 * EXAMPLES


@pytest.fixture
def process(devstack, tmp_path):
    installation = install(devstack, tmp_path)
    with installation.serving() as process:
        yield process
    installation.kill_all()


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S + 60)
def test_every_operation_keeps_to_its_document(process, tmp_path):
    command = [
        Path(sysconfig.get_path("scripts")) / "schemathesis",
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        f"{process.url}/openapi.json",
        "--header",
        f"Authorization: {AUTHORIZED['Authorization']}",
        # It stands in the hooks, told better.
        "--exclude-checks=positive_data_acceptance",
        # Their fields depend on each other and on the upload, which a schema cannot say; what they
        # take and refuse is in tests/web/test_tus.py and test_resumable_http.py.
        "--exclude-path-regex=^/v1/uploads",
        "--exclude-method=OPTIONS",
        f"--seed={SEED}",
        f"--max-examples={EXAMPLES}",
        "--continue-on-failure",
        "--generation-database=none",
        "--no-color",
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
        "PYTHONPATH": str(HERE.parent.parent),
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout.replace(ROOT_KEY, "…") + done.stderr
    assert not process.events("request_failed")
    assert "Traceback" not in process.log.read_text()
