"""What a command that does many things tells: a line for each that changed something, then sums.

With --json one object a line: {"action", "name", "size_bytes"[, "detail"]}, and the sums as the
last: {"put", "get", "copy", "move", "delete", "same", "failed", "moved_bytes"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failures import FAILED
from service.cli.remote import run

if TYPE_CHECKING:
    from service.client import AsyncMediagate
    from service.client.sync import Action, Report

DEFAULT_PARALLEL = 8
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Transfers at a time.")]
Work = Callable[["AsyncMediagate", "Report"], Awaitable[None]]
_REFRESH_S = 0.1


def reported(url: str, work: Work, patience_s: float, *, as_json: bool, sums: bool) -> None:
    """Run it; exit code 1 where anything failed. sums: tell them at the end."""
    with report_to_terminal(as_json=as_json, sums=sums) as report:
        run(url, lambda mediagate: work(mediagate, report), patience_s)


@contextmanager
def report_to_terminal(*, as_json: bool, sums: bool) -> Iterator[Report]:
    from service.client.sync import Kind, Report

    with _status() as status:
        report = Report(lambda action: None)

        def tell(action: Action) -> None:
            line = _line(action, as_json=as_json)
            if line:
                typer.echo(line, err=action.kind is Kind.FAILED and not as_json)
            status(report)

        report.tell = tell
        yield report
    if sums:
        typer.echo(json.dumps(report.as_dict()) if as_json else _sums(report))
    if report.counts[Kind.FAILED]:
        raise typer.Exit(FAILED)


def _line(action: Action, *, as_json: bool) -> str | None:
    from service.client.sync import Kind

    kind, name, size_bytes, detail = action
    if kind is Kind.SAME:
        return None
    if as_json:
        told = {"action": kind.value, "name": name, "size_bytes": size_bytes}
        if detail is not None:
            told["detail"] = detail
        return json.dumps(told, ensure_ascii=False)
    if kind is Kind.FAILED:
        return f"mediagate: {name}: {detail}"
    return f"{kind.value:6}  {name}"


def _sums(report: Report) -> str:
    counts = [f"{count} {kind.value}" for kind, count in report.counts.items() if count]
    return f"{', '.join(counts) or 'nothing'}; {report.moved_bytes} bytes moved"


@contextmanager
def _status() -> Iterator[Callable[[Report], None]]:
    """The sums so far on stderr where that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    from rich.console import Console

    last = 0.0
    with Console(stderr=True).status("looking …") as spinner:

        def show(report: Report) -> None:
            nonlocal last
            if time.monotonic() - last > _REFRESH_S:
                last = time.monotonic()
                spinner.update(_sums(report))

        yield show
