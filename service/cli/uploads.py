"""uploads ls, rm: what was begun and is not complete."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.remote import DEFAULT_URL, SCHEME, Json, Url, run

if TYPE_CHECKING:
    from service.client import AsyncMediagate, UploadInfo

app = typer.Typer(help="Uploads that are not complete, and can go on.", no_args_is_help=True)


@app.command("ls")
def list_uploads(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List those that were begun with this key: id, bytes, when they expire, what they become.

    `put` of the same file goes on with its own; one that is under way is listed too.
    """

    async def show(mediagate: AsyncMediagate) -> None:
        async for upload in mediagate.uploads():
            typer.echo(upload.model_dump_json() if as_json else _line(upload))

    run(url, show)


def _line(upload: UploadInfo) -> str:
    length = "?" if upload.length_bytes is None else upload.length_bytes
    until = upload.expires_at
    expires = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if until else ""
    name = f"{SCHEME}{upload.bucket}/{upload.key}" if upload.bucket else f"({upload.kind})"
    return f"{upload.id}  {f'{upload.offset}/{length}':>25}  {expires:20}  {name}"


@app.command("rm")
def end_uploads(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", show_default=False)],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """End uploads: their bytes go. One that is complete has become an object, which stays."""

    async def end(mediagate: AsyncMediagate) -> None:
        for id in ids:
            await mediagate.end_upload(id)
            if as_json:
                typer.echo(json.dumps({"id": id}))

    run(url, end)
