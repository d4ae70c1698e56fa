"""What the client's commands share: where the service is, names, progress, retries told.

MEDIAGATE_URL   the service, http://127.0.0.1:8080 unless set
MEDIAGATE_KEY   the API key; in the environment only, since arguments can be seen by others
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from service.cli.failures import UNAVAILABLE, SettingsError

if TYPE_CHECKING:
    from service.client import AsyncMediagate
    from service.client.patience import Progress
    from service.errors import MediagateError

T = TypeVar("T")
SCHEME = "mg://"
Url = Annotated[str, typer.Option("--url", envvar="MEDIAGATE_URL", help="Where the service is.")]
DEFAULT_URL = "http://127.0.0.1:8080"
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Patience = Annotated[
    float,
    typer.Option(min=0, help="Seconds without progress after which a broken transfer is given up."),
]
DEFAULT_PATIENCE_S = 120.0


class Name(NamedTuple):
    """`mg://bucket/key` taken apart; what stands behind the bucket is taken as it is."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> Name:
        if not text.startswith(SCHEME):
            raise typer.BadParameter(f"{text!r} is no name of the form mg://bucket/key")
        bucket, _, key = text.removeprefix(SCHEME).partition("/")
        return cls(bucket, key)

    @classmethod
    def parse_object(cls, text: str) -> Name:
        name = cls.parse(text)
        if not name.key or name.key.endswith("/"):
            raise typer.BadParameter(f"{text!r} names no object: mg://bucket/key")
        return name


def run(
    url: str, call: Callable[[AsyncMediagate], Awaitable[T]], patience_s: float = DEFAULT_PATIENCE_S
) -> T:
    """`call` with a client; a service out of reach is one line and its exit code."""
    from service.client import AsyncMediagate, Timeouts, Unreachable

    key = os.environ.get("MEDIAGATE_KEY", "").strip()
    if not key:
        raise SettingsError("set MEDIAGATE_KEY to an API key of the service")

    async def connected() -> T:
        timeouts = Timeouts(patience_s=patience_s)
        async with AsyncMediagate(url, key, timeouts=timeouts, on_retry=_tell_retry) as mediagate:
            return await call(mediagate)

    try:
        return asyncio.run(connected())
    except Unreachable as error:
        typer.echo(f"mediagate: {error.detail}", err=True)
        raise typer.Exit(UNAVAILABLE) from error


def _tell_retry(error: MediagateError, pause_s: float) -> None:
    typer.echo(f"mediagate: {error.detail}; trying again in {pause_s:.1f} s", err=True)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar on stderr where that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda done_bytes, size_bytes: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        begun = False

        def show(done_bytes: int, size_bytes: int | None) -> None:
            nonlocal begun
            if begun:
                bar.update(task, completed=done_bytes, total=size_bytes)
            else:  # what an earlier transfer did counts for no speed
                bar.reset(task, completed=done_bytes, total=size_bytes)
                begun = True

        yield show
