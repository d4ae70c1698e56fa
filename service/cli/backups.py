"""backup, rebuild: the journal in S3, and the way back from it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.configuration import EnvFile, load_settings
from service.cli.failures import FAILED, MISUSED

if TYPE_CHECKING:
    from service.settings import Settings
    from service.usecases.rebuild import RebuildReport

app = typer.Typer()


@app.command()
def backup(
    env_file: EnvFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say how far the journal is behind; JSON on stdout.")
    ] = False,
    max_lag_s: Annotated[
        float, typer.Option("--max-lag", min=0, help="Seconds; a longer lag is exit code 1.")
    ] = 60,
) -> None:
    """Look after the journal, which the running service writes by itself."""
    if not check:
        typer.echo("mediagate: there is only `backup --check`: backups run by themselves", err=True)
        raise typer.Exit(MISUSED)
    found = asyncio.run(_check(load_settings(env_file)))
    typer.echo(json.dumps(found))
    if found["lag_s"] > max_lag_s:
        raise typer.Exit(FAILED)


async def _check(settings: Settings) -> dict[str, Any]:
    from service.app import open_runtime
    from service.usecases.journal import list_runs

    async with open_runtime(settings) as runtime:
        backlog = await runtime.metadata.outbox.backlog()
        runs = await list_runs(runtime)
    return {
        "unpublished": backlog.pending,
        "lag_s": round(backlog.lag_s, 3),
        "position": backlog.position,
        "epoch": backlog.epoch,
        "journal_objects": sum(len(run.objects) for run in runs),
        "journal_bytes": sum(run.size_bytes for run in runs),
    }


@app.command()
def rebuild(env_file: EnvFile = None) -> None:
    """Fill an empty database from the journal; stop every service before.

    One line of JSON for each thing that could not be put back, then one for the whole.
    """
    report = asyncio.run(_rebuild(load_settings(env_file)))
    typer.echo(json.dumps(report.as_dict()))
    if not report.whole:
        raise typer.Exit(FAILED)


async def _rebuild(settings: Settings) -> RebuildReport:
    from service.app import open_runtime
    from service.usecases.rebuild import rebuild

    def tell(unplaced: dict[str, Any]) -> None:
        typer.echo(json.dumps({"unplaced": unplaced}, ensure_ascii=False))

    async with open_runtime(settings, rebuilding=True) as runtime:
        return await rebuild(runtime, tell)
