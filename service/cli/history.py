"""versions, restore: what a key named before, in a bucket that keeps it."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.remote import DEFAULT_URL, Json, Name, Url, run

if TYPE_CHECKING:
    from service.client import AsyncMediagate, VersionInfo

app = typer.Typer()


@app.command()
def versions(
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List the versions of an object, the newest first; `*` is the one that it has now."""
    where = Name.parse_object(name)

    async def show(mediagate: AsyncMediagate) -> None:
        async for version in mediagate.versions(where.bucket, where.key):
            typer.echo(version.model_dump_json() if as_json else _line(version))

    run(url, show)


def _line(version: VersionInfo) -> str:
    created = version.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = "deleted" if version.delete_marker else str(version.size_bytes)
    return f"{'*' if version.latest else ' '} {version.version}  {created}  {what:>15}"


@app.command()
def restore(
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="VERSION", show_default=False)],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Make an old version the present one again, as a new version."""
    where = Name.parse_object(name)

    async def work(mediagate: AsyncMediagate) -> None:
        info = await mediagate.restore(where.bucket, where.key, version)
        told = info.model_dump_json() if as_json else f"{where}  {info.size_bytes} bytes"
        typer.echo(told)

    run(url, work)
