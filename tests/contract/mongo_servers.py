"""A MongoDB server for the contract suite: the embedded one, or MEDIAGATE_TEST_MONGO_URL.

The embedded one may be stopped and killed, and obeys `failCommand`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError


def given_url() -> str | None:
    return os.environ.get("MEDIAGATE_TEST_MONGO_URL")


class EmbeddedMongo:
    """SecantusDB on loopback, its data in a folder of its own that goes with it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
        program = Path(sys.executable).with_name("secantusd-py")
        self._command = [str(program), "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--storage-path", ":memory:", "--enable-test-commands"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(PyMongoError),
                pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200) as client,
            ):
                client.admin.command("ping")
                return
        self.stop()
        raise RuntimeError("secantusd-py did not come up")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)
