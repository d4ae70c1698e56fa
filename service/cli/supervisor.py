"""Several service processes on one port, and the process that looks after them.

    mediagate serve --workers 2 ── holds the port, serves nothing itself
      ├─ worker 1                  listens with SO_REUSEPORT: the kernel spreads new connections
      └─ worker 2

Workers are fresh interpreters that share the port, a folder of metrics, and what replicas share.
The first one starts alone: where its settings or its stores keep it from serving, it says so, and
the supervisor ends with its exit code as one process would. From then on a worker that ends is
started again, each time later where it does not live long. The supervisor gives up when
`_GIVE_UP_AFTER` in a row have ended without serving and no other worker serves.

SIGTERM and SIGINT are handed on, and the workers drain within `http.shutdown_grace_s`. The kernel
kills them when their supervisor is killed (devstack/guard.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from service.cli.failures import FAILED
from service.cli.held_port import held_port
from service.devstack.process import GUARD
from service.settings import Settings
from service.telemetry.shared_metrics import SHARED_FOLDER, forget_worker, shared_folder

log = structlog.get_logger()

READY = "ready"
"""What a worker prints on stdout, a line of its own, once it accepts connections."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONG_LIFE_S = 60.0
"""A worker that lived so long is started again as quickly as after its first end."""
_GIVE_UP_AFTER = 5
_LATE_S = 2.0
"""How long after the grace a worker that does not end is killed."""
_KILLED_BY = 128
"""What shells add to a signal's number for an exit code."""


def supervise(settings: Settings) -> int:
    """Run `http.workers` workers until SIGTERM or SIGINT; the exit code.

    Raises OSError where the port is not free.
    """
    http = settings.http
    with held_port(http.host, http.port) as port, shared_folder() as folder:
        environment = {
            **os.environ,
            "MEDIAGATE_HTTP__PORT": str(port),
            SHARED_FOLDER: str(folder),
        }
        log.info("supervising", workers=http.workers, host=http.host, port=port)
        return asyncio.run(_Supervisor(http.workers, http.shutdown_grace_s, environment).run())


class _Supervisor:
    def __init__(self, count: int, grace_s: float, environment: Mapping[str, str]) -> None:
        self._count = count
        self._grace_s = grace_s
        self._environment = environment
        self._running: dict[int, Process] = {}
        self._serving: set[int] = set()
        self._failed_in_a_row = 0
        self._exit_code = 0
        self._ending = asyncio.Event()
        self._first_is_settled = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, 0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(1))
            await self._first_is_settled.wait()
            for worker in range(2, self._count + 1):
                group.create_task(self._keep(worker))
        # The loop takes its handlers along: from then on another one would tell the exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        log.info("stopped")
        return self._exit_code

    async def _keep(self, worker: int) -> None:
        """Start it, and start it again, until the end."""
        pause_s = _FIRST_PAUSE_S
        while not self._ending.is_set():
            began = time.monotonic()
            code = await self._run_once(worker)
            if self._ending.is_set():
                return
            if time.monotonic() - began >= _LONG_LIFE_S:
                pause_s = _FIRST_PAUSE_S
            log.warning("worker_ended", worker=worker, code=code, again_in_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _run_once(self, worker: int) -> int:
        """One life of a worker: its exit code, negative for a signal."""
        try:
            process = await self._start(worker)
        except OSError:  # no memory or no processes left, which may pass
            log.exception("worker_not_started", worker=worker)
            self._has_failed(FAILED)
            return FAILED
        self._running[worker] = process
        if self._ending.is_set():  # meanwhile
            self._signal(process, signal.SIGTERM)
        served = False
        assert process.stdout is not None
        async for line in process.stdout:
            if line.decode(errors="replace").strip() == READY:
                served = True
                self._has_served(worker)
        code = await process.wait()
        del self._running[worker]
        self._serving.discard(worker)
        forget_worker(worker, Path(self._environment[SHARED_FOLDER]))
        if not served:
            self._has_failed(code)
        return code

    async def _start(self, worker: int) -> Process:
        """From the main thread, as guard.py wants it. Its own session keeps the Ctrl-C of a
        terminal away, which is handed on instead."""
        serve = [sys.executable, "-m", "service", "serve", "--worker", str(worker)]
        return await asyncio.create_subprocess_exec(
            *[sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *serve],
            stdin=DEVNULL,
            stdout=PIPE,
            env=self._environment,
            start_new_session=True,
        )

    def _has_served(self, worker: int) -> None:
        self._serving.add(worker)
        self._failed_in_a_row = 0
        self._first_is_settled.set()

    def _has_failed(self, code: int) -> None:
        self._failed_in_a_row += 1
        at_first = not self._first_is_settled.is_set()
        if not self._serving and (at_first or self._failed_in_a_row >= _GIVE_UP_AFTER):
            # With 0 it ended in order, on a signal that somebody sent to it alone.
            self._end((code or FAILED) if code >= 0 else _KILLED_BY - code)

    def _end(self, exit_code: int) -> None:
        """Let all workers drain; the first call says with which code it ends."""
        if self._ending.is_set():
            return
        self._exit_code = exit_code
        self._ending.set()
        self._first_is_settled.set()
        for process in self._running.values():
            self._signal(process, signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._grace_s + _LATE_S, self._kill)

    def _kill(self) -> None:
        for worker, process in self._running.items():
            log.error("worker_killed", worker=worker, grace_s=self._grace_s)
            self._signal(process, signal.SIGKILL)

    @staticmethod
    def _signal(process: Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            process.send_signal(number)
