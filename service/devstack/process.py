"""A server as a child process: start, wait until healthy, stop, and leave nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.devstack.errors import StackError
from service.devstack.ports import HOST

GUARD = Path(__file__).with_name("guard.py")
TAIL_LINES = 20
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Check:
    """One sign of health: 200 for GET `path`, with `content` in the body.

    path: None where the port speaks no HTTP; then an accepted connection is enough.
    """

    port: int
    path: str | None = None
    content: bytes = b""

    def holds(self) -> bool:
        if self.path is None:
            return self._accepts()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=1)
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            return answer.status == http.client.OK and self.content in answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _accepts(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """How to run one server on given ports.

    command: absolute path of the binary and its arguments. env: added to our own environment.
    port: where it serves. healthy: what must hold before it does. sockets: files that it leaves
    behind, removed after it.
    """

    name: str
    command: Sequence[str]
    port: int
    folder: Path
    healthy: Sequence[Check]
    env: Mapping[str, str] = field(default_factory=dict)
    sockets: Sequence[Path] = ()


class Child:
    """One running server. `pid` is for tests that stop, freeze or kill it."""

    def __init__(self, plan: ServerPlan, log: Path, keep_open: Sequence[int] = ()) -> None:
        """Start it. keep_open: file descriptors that it inherits (the lock of the data folder).

        Must be called from the main thread: the child is killed when the thread that started it
        ends. Its own session keeps a Ctrl-C of the terminal away from it.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("servers are started from the main thread, or they die with another")
        self.plan = plan
        self._log = log
        plan.folder.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid())]
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
                [*guard, *plan.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=plan.folder,
                env={**os.environ, **plan.env},
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def wait_healthy(self, deadline: float) -> None:
        """Return once it serves. deadline: on the monotonic clock.

        Raises StackError with the end of its log where it exits or stays silent.
        """
        while True:
            healthy = all(check.holds() for check in self.plan.healthy)
            # Alive *after* the answer: else a stranger on the same port answered in its place.
            if self.exit_code is not None:
                raise self.failure(f"ended with code {self.exit_code} before it was ready")
            if healthy:
                return
            if time.monotonic() > deadline:
                raise self.failure("was not ready in time")
            time.sleep(POLL_S)

    def failure(self, what: str) -> StackError:
        tail = self.log_tail() or "(nothing)"
        return StackError(f"{self.plan.name} {what}; the end of {self._log}:\n{tail}")

    def log_tail(self) -> str:
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - 8192))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def terminate(self) -> None:
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.exit_code is None:
            self._process.kill()

    def wait_stopped(self, deadline: float) -> None:
        """Wait for its end; past the deadline (monotonic) kill it by pid."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for path in self.plan.sockets:
            path.unlink(missing_ok=True)
