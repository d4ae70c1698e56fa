"""dev and stack: the embedded servers, with the service or without.

    mediagate dev ── SeaweedFS or MinIO; with --metadata mongo SecantusDB   (stack: only these)
                  └─ mediagate serve

The service is a process of its own, so that it can be measured, traced and killed like any other;
it ends first, the servers after it. A killed supervisor takes all of them with it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from service.cli.configuration import load_settings
from service.cli.failures import SettingsError
from service.cli.first_key import ensure_first_key
from service.devstack import Child, StackError, running_stack
from service.devstack.guard import die_with_parent
from service.devstack.ports import HOST, choose_ports
from service.devstack.process import Check, ServerPlan

app = typer.Typer()
SERVICE_START_TIMEOUT_S = 60.0
LOOK_S = 0.2


class S3Choice(StrEnum):
    SEAWEEDFS = "seaweedfs"
    MINIO = "minio"


Data = Annotated[Path, typer.Option(help="The folder that keeps everything between runs.")]
S3Option = Annotated[S3Choice, typer.Option("--s3", help="The S3 server.")]
MetadataOption = Annotated[
    str,
    typer.Option("--metadata", help="`sqlite`, a file; `mongo`, a server; or the URL of others."),
]
WithParent = Annotated[
    bool, typer.Option("--die-with-parent", hidden=True, help="Stop when the caller is gone.")
]


@app.command()
def stack(
    data: Data = Path(".dev"),
    s3: S3Option = S3Choice.SEAWEEDFS,
    metadata: MetadataOption = "sqlite",
    with_parent: WithParent = False,
) -> None:
    """Run the servers that the service needs on this machine, without the service."""
    with (
        _until_interrupted(with_parent=with_parent) as on_hurry,
        running_stack(data, s3.value, metadata) as servers,
    ):
        on_hurry(servers.kill)
        typer.echo(f"stack ready: {data / 'env'}")
        while True:
            servers.check()
            time.sleep(LOOK_S)


@app.command()
def dev(
    data: Data = Path(".dev"),
    s3: S3Option = S3Choice.SEAWEEDFS,
    metadata: MetadataOption = "sqlite",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8080,
    with_parent: WithParent = False,
) -> None:
    """Run everything on this machine: the servers, the service, a first key (`make run`)."""
    with _until_interrupted(with_parent=with_parent) as on_hurry, ExitStack() as cleanup:
        (free_port,) = choose_ports(1, [port] if port else [])
        if port not in (0, free_port):
            raise StackError(f"port {port} is in use; choose another one (make run PORT=…)")
        servers = None
        if not _other_servers_are_named():
            servers = cleanup.enter_context(running_stack(data, s3.value, metadata))
            on_hurry(servers.kill)
        settings = load_settings(None, **(servers.env if servers else {}))
        service = _start_service(data, free_port)
        grace_s = settings.http.shutdown_grace_s + 5
        cleanup.callback(lambda: service.wait_stopped(time.monotonic() + grace_s))
        cleanup.callback(service.terminate)
        on_hurry(service.kill)
        token = ensure_first_key(data / "key", settings)
        service.wait_healthy(time.monotonic() + SERVICE_START_TIMEOUT_S)
        typer.echo(f"mediagate ready: http://{HOST}:{free_port}  key: {token}")
        while service.exit_code is None:
            if servers:
                servers.check()
            time.sleep(LOOK_S)
        raise service.failure(f"ended with code {service.exit_code}")


def _other_servers_are_named() -> bool:
    """Whether the environment points at an S3 server and metadata; then none are embedded."""
    names = ("MEDIAGATE_S3__ENDPOINT", "MEDIAGATE_METADATA__URL")
    given = [name for name in names if os.environ.get(name)]
    if len(given) == 1:
        raise SettingsError(f"only {given[0]} is set: set both of {' and '.join(names)}, or none")
    return bool(given)


def _start_service(data: Path, port: int) -> Child:
    """`mediagate serve`; it finds its settings in the environment, as this process did."""
    log = data.absolute() / "log" / "mediagate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port)]
    plan = ServerPlan("the service", command, port, Path.cwd(), [Check(port, "/readyz")])
    return Child(plan, log)


@contextmanager
def _until_interrupted(*, with_parent: bool) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Run the body until SIGINT, SIGTERM or SIGHUP, which end it in order; that is no failure.

    Yields a function that registers what a second signal does: end things at once.
    """
    hurries: list[Callable[[], None]] = []
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            for hurry in hurries:
                hurry()
            return
        interrupted = True
        raise KeyboardInterrupt

    if with_parent:
        die_with_parent(signal.SIGTERM, os.getppid())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        yield hurries.append
    except KeyboardInterrupt:
        if not interrupted:
            raise
