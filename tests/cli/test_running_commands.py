"""`mediagate dev`, `stack` and `serve` as processes: ready, used, stopped, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.devstack import Stack
from service.devstack.ports import choose_ports
from tests.cli.commands import call, is_ready, running
from tests.processes import family, is_running, until

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
READY = re.compile(r"mediagate ready: (http://127\.0\.0\.1:\d+)  key: (mg_\w{26}_[\w-]{43})\n")


def ready_line(process: subprocess.Popen[str]) -> re.Match[str]:
    line = process.stdout.readline()
    match = READY.fullmatch(line)
    assert match, (line, process.stderr.read())
    return match


@pytest.mark.parametrize(("metadata", "processes"), [("sqlite", 2), ("mongo", 3), ("url", 2)])
def test_dev_serves_keeps_everything_and_leaves_nothing_running(
    devstack: Stack, tmp_path: Path, metadata: str, processes: int
) -> None:
    data = tmp_path / "data"
    if metadata == "url":
        metadata = devstack.metadata_url
    command = ("dev", "--metadata", metadata, "--data", data, "--port")
    with running(*command, choose_ports(1)[0]) as first:
        url, token = ready_line(first).groups()
        assert (data / "key").read_text() == token + "\n"
        assert stat.S_IMODE((data / "key").stat().st_mode) == 0o600
        assert call("PUT", f"{url}/v1/buckets/films", token)[0] == 201
        assert call("PUT", f"{url}/v1/buckets/films/objects/one", token, b"content")[0] == 201
        children = family(first.pid)
        assert len(children) == processes
        os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        out, err = first.communicate(timeout=30)
        assert (first.returncode, out, err) == (0, "", "")
        assert not any(is_running(child) for child in children)

    started = time.monotonic()
    with running(*command, 0) as second:
        url, same_token = ready_line(second).groups()
        assert time.monotonic() - started < 10
        assert same_token == token
        assert call("GET", f"{url}/v1/buckets/films/objects/one", token) == (200, b"content")
        children = family(second.pid)
        second.kill()
        assert until(lambda: not any(is_running(child) for child in children))


def test_dev_ends_with_the_reason_when_a_server_or_the_service_dies(tmp_path: Path) -> None:
    for killed, said in ((0, "SeaweedFS died with code -9"), (1, "the service ended with code -9")):
        with running("dev", "--data", tmp_path, "--port", 0) as dev:
            ready_line(dev)
            children = sorted(family(dev.pid))
            os.kill(children[killed], signal.SIGKILL)
            assert dev.wait(30) == 1
            assert dev.stderr.read().startswith(f"mediagate: {said}")
            assert not any(is_running(child) for child in children)


def test_dev_refuses_a_port_in_use_and_half_named_servers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with running("dev", "--data", tmp_path, "--port", port) as dev:
            assert dev.wait(30) == 1
            assert dev.stderr.read().startswith(f"mediagate: port {port} is in use")
    with running("dev", "--port", 0, MEDIAGATE_S3__ENDPOINT="http://127.0.0.1:1") as dev:
        assert dev.wait(30) == 2
        assert "set both of MEDIAGATE_S3__ENDPOINT and" in dev.stderr.read()


def test_dev_uses_other_servers_where_the_environment_names_them(
    devstack: Stack, tmp_path: Path
) -> None:
    with running("dev", "--data", tmp_path, "--port", 0, **devstack.env) as dev:
        url, token = ready_line(dev).groups()
        assert len(family(dev.pid)) == 1
        assert call("GET", f"{url}/v1/buckets", token)[0] == 200
        dev.terminate()
        assert dev.wait(30) == 0


def test_dev_tells_another_database_of_its_key_and_replaces_a_revoked_one(
    devstack: Stack, tmp_path: Path
) -> None:
    tokens = []
    for database in ("key_one", "key_two", "key_two"):
        environment = {**devstack.env, "MEDIAGATE_METADATA__DATABASE": database}
        with running("dev", "--data", tmp_path, "--port", 0, **environment) as dev:
            url, token = ready_line(dev).groups()
            tokens.append(token)
            assert call("GET", f"{url}/v1/buckets", token)[0] == 200
            key_id = token.split("_")[1]
            if len(tokens) == 2:
                assert call("DELETE", f"{url}/v1/keys/{key_id}", token)[0] == 204
            dev.terminate()
            dev.wait(30)
    first, told, replaced = tokens
    assert first == told
    assert replaced != told
    assert (tmp_path / "key").read_text() == replaced + "\n"


def test_stack_alone_and_two_services_beside_it(tmp_path: Path) -> None:
    with running("stack", "--data", tmp_path) as stack:
        assert stack.stdout.readline() == f"stack ready: {tmp_path}/env\n"
        env_file = ("--env-file", tmp_path / "env")
        made = subprocess.run(
            [sys.executable, "-m", "service", "key", "create", *env_file],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        token = made.stdout.strip()
        ports = choose_ports(2)
        with (
            running("serve", *env_file, "--port", ports[0]) as one,
            running("serve", *env_file, "--port", ports[1]) as two,
        ):
            urls = [f"http://127.0.0.1:{port}" for port in ports]
            assert until(lambda: all(is_ready(url) for url in urls), 30)
            assert call("PUT", f"{urls[0]}/v1/buckets/films", token)[0] == 201
            names = json.loads(call("GET", f"{urls[1]}/v1/buckets", token)[1])
            assert names["items"][0]["name"] == "films"
            for service in (one, two):
                service.terminate()
                assert service.wait(30) == 0
        children = family(stack.pid)
        stack.send_signal(signal.SIGHUP)
        assert stack.wait(30) == 0
        assert not any(is_running(child) for child in children)


def test_command_dies_with_its_caller_where_asked(devstack: Stack, tmp_path: Path) -> None:
    """As `make run` asks: a make that is killed cannot tell its children."""
    script = (
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'service', 'dev',"
        " '--data', sys.argv[1], '--port', '0', '--die-with-parent'])"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, **devstack.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with caller:
        ready_line(caller)
        children = family(caller.pid)
        assert len(children) == 2
        caller.kill()
        assert until(lambda: not any(is_running(child) for child in children), 20)


def silent_metadata(silent: socket.socket) -> dict[str, str]:
    url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true"
    return {"MEDIAGATE_METADATA__URL": url, "MEDIAGATE_METADATA__TIMEOUT_S": "30"}


def test_serve_ends_in_order_before_its_stores_have_answered() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running("serve", "--port", 0, **silent_metadata(silent)) as serve,
    ):
        silent.accept()[0].close()
        serve.terminate()
        assert serve.wait(10) == 0


def test_a_first_worker_that_somebody_else_stops_before_it_serves_is_a_failure_of_all() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running("serve", "--port", 0, "--workers", 2, **silent_metadata(silent)) as serve,
    ):
        silent.accept()[0].close()
        (worker,) = family(serve.pid)
        os.kill(worker, signal.SIGTERM)
        assert serve.wait(20) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_repeated_signals_change_nothing_about_an_orderly_end(workers: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running("serve", "--port", 0, "--workers", workers, **silent_metadata(silent)) as serve,
    ):
        silent.accept()[0].close()
        while serve.poll() is None:
            serve.terminate()
            time.sleep(0.005)
        assert serve.returncode == 0


@pytest.mark.parametrize("stdout", ["&-", "/dev/full"])
def test_an_orderly_end_is_no_failure_where_stdout_takes_nothing(stdout: str) -> None:
    """With the exit code of a failure it would also wait for threads of a frozen store."""
    leaves = "from service.cli.serving import _leave; print('last words'); _leave()"
    command = ["sh", "-c", f'exec "$@" >{stdout}', "sh", sys.executable, "-c", leaves]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    assert subprocess.run(command, env=environment, check=False).returncode == 0
