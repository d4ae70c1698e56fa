"""`mediagate serve --workers 2`: real processes on one port, killed, drained and scraped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.devstack import Stack
from tests.processes import family, is_running, until

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
ROOT_KEY = "mg_root_of_the_workers"
START_S = 40
HEALTH = 'mediagate_requests_total{method="GET",route="/healthz",status="200"}'


class Supervised:
    """A running `serve --workers 2`, and what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def serving(self, times: int = 2) -> int:
        """Wait until workers have begun to serve so many times; the port."""
        assert until(lambda: len(self.events("serving")) >= times, START_S), self._log.read_text()
        [port] = {int(event["url"].rpartition(":")[2]) for event in self.events("serving")}
        return port

    def workers(self) -> set[int]:
        return family(self.process.pid)


@contextlib.contextmanager
def supervised(
    stack: Stack, folder: Path, *, below: Sequence[str] = (), **environment: str
) -> Iterator[Supervised]:
    """below: a command that runs the one behind it."""
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*below, sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "2"],
            env=settings_of(stack, TMPDIR=str(folder), **environment),
            stderr=output,
        ) as process,
    ):
        try:
            yield Supervised(process, log)
        finally:
            process.kill()


def settings_of(stack: Stack, **environment: str) -> dict[str, str]:
    return {
        **os.environ,
        **stack.env,
        "MEDIAGATE_AUTH__ROOT_KEY": ROOT_KEY,
        "MEDIAGATE_METADATA__DATABASE": "workers",
        "MEDIAGATE_TELEMETRY__LOG_FORMAT": "json",
        "MEDIAGATE_TELEMETRY__LOG_LEVEL": "debug",
        **environment,
    }


def call(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """On a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Authorization": f"Bearer {ROOT_KEY}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def scrape(port: int) -> dict[str, float]:
    lines = call(port, "GET", "/metrics")[1].decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if line and line[0] != "#")
    return {name: float(value) for name, _, value in samples}


def test_both_serve_one_port_and_one_scrape_shows_both(devstack: Stack, tmp_path: Path) -> None:
    with supervised(devstack, tmp_path) as service:
        port = service.serving()
        assert len(service.workers()) == 2
        for _ in range(40):
            assert call(port, "GET", "/healthz")[0] == 200
        assert {call(port, "GET", "/metrics")[0] for _ in range(20)} == {200}

        def served_by(route: str) -> list[int]:
            events = service.events("request")
            return [event["worker"] for event in events if event["route"] == route]

        assert until(lambda: len(served_by("/healthz")) == 40)
        assert {*served_by("/healthz")} == {1, 2}
        assert {*served_by("/metrics")} == {1, 2}  # so that both told the sum, below
        for _ in range(10):
            assert scrape(port)[HEALTH] == 40
        assert scrape(port)["mediagate_budget_limit_bytes"] == 2 * 256 << 20
        workers = service.workers()
        service.process.terminate()
        assert service.process.wait(30) == 0
        assert not any(is_running(worker) for worker in workers)
    assert not list(tmp_path.glob("mediagate-metrics-*"))


def test_workers_share_a_file_of_sqlite_and_see_at_once_what_the_others_did(
    devstack: Stack, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/metadata.sqlite3"
    with supervised(devstack, tmp_path, MEDIAGATE_METADATA__URL=url) as service:
        port = service.serving()
        assert call(port, "PUT", "/v1/buckets/shared")[0] == 201
        for number in range(30):
            there = f"/v1/buckets/shared/objects/{number % 3}"
            body = f"content {number}".encode()
            assert call(port, "PUT", there, body)[0] in (200, 201)
            assert call(port, "GET", there) == (200, body)

        def writers() -> set[int]:
            events = service.events("request")
            return {event["worker"] for event in events if event["method"] == "PUT"}

        assert until(lambda: writers() == {1, 2})
        os.kill(next(iter(service.workers())), signal.SIGKILL)

        def readable() -> bool:
            """What waited for the killed worker is cut."""
            with contextlib.suppress(OSError, http.client.HTTPException):
                there = "/v1/buckets/shared/objects/2"
                return call(port, "GET", there) == (200, b"content 29")
            return False

        assert until(readable)


def test_a_killed_worker_is_replaced_while_the_other_serves(
    devstack: Stack, tmp_path: Path
) -> None:
    patient = {"MEDIAGATE_HTTP__HEADER_TIMEOUT_S": "100"}  # with the idle connections below
    with supervised(devstack, tmp_path, **patient) as service, contextlib.ExitStack() as idle_ones:
        port = service.serving()
        before = service.workers()
        idle = [connect(port, idle_ones) for _ in range(30)]
        assert call(port, "GET", "/healthz")[0] == 200
        assert until(lambda: scrape(port)["mediagate_connections"] == 31)

        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        # Its threads, and so its sockets, may live on for a moment when it is a zombie already.
        assert until(lambda: service.events("worker_ended") != [])
        while len(service.events("serving")) < 3:
            assert call(port, "GET", "/healthz")[0] == 200
        assert len(service.workers() - before) == 1
        [ended] = service.events("worker_ended")
        assert ended["code"] == -signal.SIGKILL
        assert ended["worker"] == service.events("serving")[-1]["worker"]

        left = [each for each in idle if is_open(each)]
        assert 0 < len(left) < 30
        found = scrape(port)
        assert found["mediagate_connections"] == len(left) + 1
        assert found[HEALTH] >= 1


def connect(port: int, cleanup: contextlib.ExitStack) -> socket.socket:
    return cleanup.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_a_stop_lets_an_upload_end_in_whichever_worker(devstack: Stack, tmp_path: Path) -> None:
    with supervised(devstack, tmp_path) as service, contextlib.ExitStack() as uploading:
        port = service.serving()
        assert call(port, "PUT", "/v1/buckets/drained")[0] == 201
        uploads = [connect(port, uploading) for _ in range(16)]
        for number, upload in enumerate(uploads):
            upload.sendall(half_of(f"object-{number}"))
        assert until(lambda: scrape(port)["mediagate_requests_in_flight"] == 17)
        service.process.terminate()
        assert until(lambda: len(service.events("draining")) == 2)
        for upload in uploads:
            upload.sendall(b"half")
            assert upload.recv(4096).startswith(b"HTTP/1.1 201 Created\r\n")
        assert service.process.wait(30) == 0
        done = [event for event in service.events("request") if event["status"] == 201]
        assert {event["worker"] for event in done[-16:]} == {1, 2}


def test_a_worker_that_does_not_end_is_killed_after_the_grace(
    devstack: Stack, tmp_path: Path
) -> None:
    with supervised(devstack, tmp_path, MEDIAGATE_HTTP__SHUTDOWN_GRACE_S="1") as service:
        service.serving()
        workers = service.workers()
        os.kill(min(workers), signal.SIGSTOP)
        service.process.terminate()
        assert service.process.wait(30) == 0
        assert len(service.events("worker_killed")) == 1
        assert not any(is_running(worker) for worker in workers)


def half_of(key: str) -> bytes:
    return (
        f"PUT /v1/buckets/drained/objects/{key} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n"
        f"Authorization: Bearer {ROOT_KEY}\r\n\r\nhalf"
    ).encode()


def test_no_worker_outlives_a_killed_supervisor(devstack: Stack, tmp_path: Path) -> None:
    with supervised(devstack, tmp_path) as service:
        service.serving()
        workers = service.workers()
        assert len(workers) == 2
        service.process.kill()
        assert until(lambda: not any(is_running(worker) for worker in workers))


FEW = {
    "MEDIAGATE_LIMITS__MAX_CONNECTIONS": "50",
    "MEDIAGATE_S3__MAX_CONNECTIONS": "10",
    "MEDIAGATE_S3__MAX_DOWNLOADS": "10",
}


@pytest.mark.parametrize(("limits", "told"), [(FEW, []), ({}, [300, 300])], ids=["few", "many"])
def test_workers_may_open_as_many_files_as_the_hard_limit_allows(
    devstack: Stack, tmp_path: Path, limits: dict[str, str], told: list[int]
) -> None:
    shell = ("sh", "-c", 'ulimit -Sn 256 && ulimit -Hn 300 && exec "$@"', "sh")
    with supervised(devstack, tmp_path, below=shell, **limits) as service:
        service.serving()
        for pid in service.workers():
            found = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max open files +300 +300 ", found)
        assert [event["limit"] for event in service.events("few_descriptors")] == told


def run_to_its_end(
    stack: Stack, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "serve", *arguments],
        env=settings_of(stack, **environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_in_use_is_refused_by_one_and_by_many(devstack: Stack, tmp_path: Path) -> None:
    with supervised(devstack, tmp_path) as service:
        taken = service.serving()
        for workers in ("1", "2"):
            refused = run_to_its_end(devstack, "--port", str(taken), "--workers", workers)
            assert refused.returncode == 1
            assert "address already in use" in refused.stderr.splitlines()[-1]
            assert "worker_ended" not in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        refused = run_to_its_end(devstack, "--port", str(taken), "--workers", "2")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"mediagate: [Errno 98] cannot listen on 127.0.0.1:{taken}: address already in use\n"
        )


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"MEDIAGATE_SWEEP__GRACE_S": "1"}, 2),
        (
            {
                "MEDIAGATE_METADATA__URL": "mongodb://127.0.0.1:1",
                "MEDIAGATE_METADATA__TIMEOUT_S": "1",
            },
            3,
        ),
    ],
    ids=["settings", "store"],
)
def test_what_keeps_one_process_from_starting_ends_many_alike(
    devstack: Stack, broken: dict[str, str], code: int
) -> None:
    one = run_to_its_end(devstack, "--port", "0", **broken)
    many = run_to_its_end(devstack, "--port", "0", "--workers", "2", **broken)
    assert (one.returncode, many.returncode) == (code, code)

    def told(said: str) -> list[str]:
        """Without the driver's own numbers, which are new each time."""
        lines = [line for line in said.splitlines() if line.startswith("mediagate: ")]
        return [re.sub(r"[0-9a-f]{24}|\d+\.\d+", "", line) for line in lines]

    assert len(told(one.stderr)) == 1
    assert told(many.stderr) == told(one.stderr)


def test_workers_that_cannot_start_any_more_end_the_supervisor(
    devstack: Stack, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[http]\n")
    with supervised(devstack, tmp_path, MEDIAGATE_CONFIG=str(config)) as service:
        service.serving()
        config.write_text("[http]\nno_such_setting = 1\n")
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
        assert service.process.wait(60) == 2
        ended = [event["code"] for event in service.events("worker_ended")]
        assert ended[:2] == [-signal.SIGKILL] * 2
        assert 3 <= len(ended[2:]) <= 5
        assert {*ended[2:]} == {2}
        for worker in (1, 2):
            ends = [end for end in service.events("worker_ended") if end["worker"] == worker]
            assert [end["again_in_s"] for end in ends] == [0.5, 1, 2, 4][: len(ends)]
