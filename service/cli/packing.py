"""archive, expand: many objects as one file, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failures import FAILED
from service.cli.remote import DEFAULT_URL, Json, Name, Url, progress_bar, run

if TYPE_CHECKING:
    from service.client import AsyncMediagate, Expansion

app = typer.Typer()
_STDIN, _STDOUT = 0, 1
_ENDINGS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
Format = Annotated[
    str | None, typer.Option(help="By the ending of the file otherwise.", show_default=False)
]


@app.command()
def archive(
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET[/PREFIX]", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="FILE|-", help="`-` is stdout.")],
    url: Url = DEFAULT_URL,
    format: Format = None,
    as_json: Json = False,
) -> None:
    """Fetch all objects of a prefix as one zip or tar."""
    where = Name.parse(name)
    kind = _format(format, target)

    async def fetch(mediagate: AsyncMediagate) -> None:
        if target == "-":
            await _to_stdout(mediagate, where, kind)
            return
        with progress_bar(str(where)) as progress:
            size_bytes = await mediagate.archive_to_file(
                where.bucket, target, where.key, format=kind, progress=progress
            )
        told = {"file": target, "size_bytes": size_bytes}
        typer.echo(json.dumps(told) if as_json else f"{target}  {size_bytes} bytes")

    run(url, fetch)


async def _to_stdout(mediagate: AsyncMediagate, where: Name, kind: str) -> None:
    from service.client.io_thread import BlockingThread, write_all

    async with (
        mediagate.archive(where.bucket, where.key, format=kind) as found,
        BlockingThread() as thread,
    ):
        async for chunk in found:
            await thread.run(write_all, _STDOUT, chunk)


@app.command()
def expand(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="`-` is stdin.")],
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET[/PREFIX]", show_default=False)],
    url: Url = DEFAULT_URL,
    format: Format = None,
    each: Annotated[
        bool, typer.Option("--each", help="Every entry for itself; all or none otherwise.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Unpack a zip, tar or tar.gz on its way in: one object for each entry.

    Exit code 1 where an entry failed.
    """
    where = Name.parse(name)
    kind = _format(format, source)

    async def send(mediagate: AsyncMediagate) -> Expansion:
        from service.client.io_thread import read_chunks

        content = read_chunks(_STDIN) if source == "-" else Path(source)
        with progress_bar(source) as progress:
            return await mediagate.expand(
                where.bucket,
                content,
                format=kind,
                prefix=where.key,
                atomic=not each,
                progress=progress,
            )

    _tell(run(url, send), as_json=as_json)


def _tell(answer: Expansion, *, as_json: bool) -> None:
    if as_json:
        typer.echo(answer.model_dump_json())
    else:
        for entry in answer.items:
            if entry.problem is not None:
                typer.echo(
                    f"mediagate: {entry.name or entry.key}: {_reason(entry.problem)}", err=True
                )
        typer.echo(f"{answer.created} made, {answer.failed} failed")
    if answer.failed:
        raise typer.Exit(FAILED)


def _reason(problem: object) -> str:
    if isinstance(problem, dict):
        return str(problem.get("detail") or problem.get("title") or problem)
    return str(problem)


def _format(given: str | None, file: str) -> str:
    if given:
        return given
    for ending, kind in _ENDINGS.items():
        if file.endswith(ending):
            return kind
    raise typer.BadParameter("say --format zip, tar or tar.gz")
