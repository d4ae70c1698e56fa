"""S3 servers for the contract suite, which a test may kill, freeze and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.devstack.data_folder import Credentials
from service.devstack.ports import HOST, choose_ports
from service.devstack.process import Child
from service.devstack.servers import MINIO_PORTS, SEAWEEDFS_PORTS, minio, seaweedfs
from service.settings import S3

CREDENTIALS = Credentials("contract", "contract-secret")
PLANS = {"seaweedfs": (seaweedfs, SEAWEEDFS_PORTS), "minio": (minio, MINIO_PORTS)}
START_TIMEOUT_S = 60


class S3Server:
    """One server on loopback; `settings()` is what the service is given to use it."""

    def __init__(self, kind: str, folder: Path) -> None:
        plan, port_count = PLANS[kind]
        self._plan = plan(folder / "data", CREDENTIALS, choose_ports(port_count))
        self._log = folder / "log"
        self.endpoint = f"http://{HOST}:{self._plan.port}"

    def start(self) -> None:
        self._child = Child(self._plan, self._log)
        self._child.wait_healthy(time.monotonic() + START_TIMEOUT_S)

    def kill(self) -> None:
        self._child.kill()
        self._child.wait_stopped(time.monotonic() + START_TIMEOUT_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        os.kill(self._child.pid, signal.SIGSTOP)
        _wait_stopped(self._child.pid)
        try:
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)

    def settings(self, **changes: object) -> S3:
        values = {
            "endpoint": self.endpoint,
            "access_key": CREDENTIALS.access_key,
            "secret_key": CREDENTIALS.secret_key,
            "bucket": "contract",
        }
        return S3.model_validate(values | changes)


@contextmanager
def running_server(kind: str, folder: Path) -> Iterator[S3Server]:
    server = S3Server(kind, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


async def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def _wait_stopped(pid: int) -> None:
    """SIGSTOP reaches the threads one after the other; one that still runs would answer."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        states = {
            status.read_text().rpartition(")")[2].split()[0]
            for status in Path(f"/proc/{pid}/task").glob("*/stat")
        }
        if states == {"T"}:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} did not stop")
