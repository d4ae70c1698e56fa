"""serve, sweep, health: the service itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service.cli.configuration import EnvFile, load_settings
from service.cli.failures import FAILED, UNAVAILABLE
from service.cli.loops import run_until_stopped

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer()
HEALTH_TIMEOUT_S = 4.0
SWEEP_RETRY_S = 2.0
ORPHANED_TRANSACTION_S = 75.0
"""A process killed in its commit leaves the transaction open, and the upload's document locked,
until MongoDB ends it (transactionLifetimeLimitSeconds, 60 s): `sweep --once` outlasts that."""
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to

Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Instead of http.port; 0 is any.")
]


@app.command()
def serve(
    env_file: EnvFile = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Instead of http.host.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Instead of http.workers: processes on the port.")
    ] = None,
    worker: Annotated[
        int | None, typer.Option(hidden=True, help="Which of them this is; its supervisor says so.")
    ] = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C, then let requests in flight end."""
    settings = load_settings(
        env_file,
        MEDIAGATE_HTTP__PORT=port,
        MEDIAGATE_HTTP__HOST=host,
        MEDIAGATE_HTTP__WORKERS=workers,
    )
    from service.telemetry.logging import configure_logging

    configure_logging(settings.telemetry, worker)
    if worker is None and settings.http.workers > 1:
        from service.cli.supervisor import supervise

        raise typer.Exit(supervise(settings))
    _serve(settings, worker)


def _serve(settings: Settings, worker: int | None) -> NoReturn:
    """As the only process, or as one of a supervisor's workers."""
    from service.app import build_app
    from service.cli.descriptors import allow_descriptors
    from service.cli.supervisor import READY
    from service.telemetry.shared_metrics import count_as
    from service.web import server

    if worker is not None:
        count_as(worker)
    allow_descriptors(settings)

    def ready(_url: str) -> None:
        if worker is not None:
            typer.echo(READY)  # the supervisor reads it

    async def serve_and_leave() -> NoReturn:
        app = build_app(settings)
        await server.serve(app, settings, ready=ready, share_port=worker is not None)
        _leave()

    asyncio.run(serve_and_leave())


def _leave() -> NoReturn:
    """Be gone at once: all that was opened is closed by now.

    The interpreter would still take every module apart, which changes nothing and costs 0.2 s of
    CPU, on a busy machine seconds beyond `http.shutdown_grace_s`. And where a store is frozen, what
    was left to the sweeper (the log says so) is a task or a driver's thread that waits for it, and
    both the event loop and the interpreter would wait for them: 20 s and more.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by whoever started us
            with suppress(OSError):  # nobody reads it, or the disk is full
                stream.flush()
    os._exit(0)


@app.command()
def sweep(
    env_file: EnvFile = None,
    once: Annotated[
        bool, typer.Option("--once", help="Everything that is due, once; JSON on stdout.")
    ] = False,
) -> None:
    """Finish or undo abandoned uploads and delete dead blobs; without --once, for ever."""
    settings = load_settings(env_file)
    from service.telemetry.logging import configure_logging

    configure_logging(settings.telemetry)
    if not once:
        from service.workers.sweeper import run_sweeper

        asyncio.run(run_until_stopped(settings, run_sweeper))
        return
    report = asyncio.run(_sweep_once(settings))
    typer.echo(json.dumps(report))
    if report["failed"]:
        raise typer.Exit(FAILED)


async def _sweep_once(settings: Settings) -> dict[str, int]:
    from service.app import open_runtime
    from service.usecases.sweep import sweep

    async with open_runtime(settings) as runtime:
        report = await sweep(runtime)
        give_up = time.monotonic() + ORPHANED_TRANSACTION_S
        while report.failed and time.monotonic() < give_up:
            await asyncio.sleep(SWEEP_RETRY_S)
            report = report.followed_by(await sweep(runtime))
        return report.as_dict()


@app.command()
def health(env_file: EnvFile = None, port: Port = None) -> None:
    """Ask the service on this machine whether it is ready; for container health checks."""
    http_settings = load_settings(env_file, MEDIAGATE_HTTP__PORT=port).http
    host = _WILDCARDS.get(http_settings.host, http_settings.host)
    connection = http.client.HTTPConnection(host, http_settings.port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        status, body = answer.status, answer.read(10_000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        typer.echo(f"mediagate: no answer from {host}:{http_settings.port}: {error}", err=True)
        raise typer.Exit(UNAVAILABLE) from error
    finally:
        connection.close()
    typer.echo(body)
    if status != http.client.OK:
        raise typer.Exit(UNAVAILABLE)
