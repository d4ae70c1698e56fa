"""`make load`: the load test against a deployment, or against a service of its own.

Without --url, an S3 server, a MongoDB-compatible one and the service are started for the run, and
their data is removed after it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.devstack import Child, StackError, running_stack
from service.devstack.ports import HOST, choose_ports
from service.devstack.process import Check, ServerPlan

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
STOP_USERS_S = 30
"""A task may go on for so long after the run's time."""
# What is deleted goes soon, so that the disk holds what is there and not all that ever was.
HASTE = {
    "MEDIAGATE_HTTP__MAX_DOWNLOAD_S": "30",
    "MEDIAGATE_SWEEP__GRACE_S": "31",
    "MEDIAGATE_SWEEP__INTERVAL_S": "5",
}


def main() -> int:
    """The exit code: 0 where nothing failed."""
    wanted = _options()
    report = (wanted.data / "load.html").absolute()
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    try:
        if wanted.url:
            code = _locust(wanted, wanted.url, os.environ.get("MEDIAGATE_KEY", ""), report)
        else:
            with _service(wanted.data / "load", wanted.s3) as (url, key):
                code = _locust(wanted, url, key, report)
    except StackError as error:
        print(error, file=sys.stderr)
        return 2
    if report.exists():
        print(f"report: {report}")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--url", default="", help="of a deployment; the key is MEDIAGATE_KEY")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--time", default="60s", help="60s, 5m, 1h")
    parser.add_argument("--max-size", default="16MiB", help="the largest object")
    parser.add_argument("--bucket", default="", help="one that is there; else one is made")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="load.html goes there")
    parser.add_argument("--s3", choices=("seaweedfs", "minio"), default="seaweedfs")
    parser.add_argument("--json", type=Path, help="the statistics, for programs")
    return parser.parse_args()


def _locust(wanted: argparse.Namespace, url: str, key: str, report: Path) -> int:
    command = [
        str(SCRIPTS / "locust"), "--headless", "--only-summary",
        "--locustfile", str(ROOT / "tests" / "load" / "locustfile.py"),
        "--host", url,
        "--users", str(wanted.users),
        "--spawn-rate", str(max(1, wanted.users // 3)),
        "--run-time", wanted.time,
        "--stop-timeout", str(STOP_USERS_S),
        "--max-size", wanted.max_size,
        "--html", str(report),
    ]  # fmt: skip
    if wanted.bucket:
        command += ["--bucket", wanted.bucket]
    if wanted.json:
        command += ["--json-file", str(wanted.json)]
    env = {**os.environ, "MEDIAGATE_KEY": key, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=env)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # locust got it too, and still has to clean up
            continue


@contextmanager
def _service(data: Path, s3: str) -> Iterator[tuple[str, str]]:
    """A service with servers of its own; yields its URL and an administrator's key."""
    key = f"mg_load_{secrets.token_hex(16)}"
    (port,) = choose_ports(1)
    try:
        with running_stack(data, s3, in_memory=True) as stack:
            plan = ServerPlan(
                "the service",
                [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port)],
                port,
                ROOT,
                [Check(port, "/readyz")],
                env={**stack.env, **HASTE, "MEDIAGATE_AUTH__ROOT_KEY": key},
            )
            service = Child(plan, data / "log" / "mediagate.log")
            try:
                service.wait_healthy(time.monotonic() + START_TIMEOUT_S)
                yield f"http://{HOST}:{port}", key
            finally:
                service.terminate()
                service.wait_stopped(time.monotonic() + STOP_TIMEOUT_S)
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
