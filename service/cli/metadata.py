"""metadata: copy, backup, restore, check; the engine that keeps the metadata, as a whole."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, JsonDocument, load_settings

if TYPE_CHECKING:
    from service.settings import Metadata
    from service.usecases.copy_metadata import Copied

app = typer.Typer(help="Copy, back up, restore and check what keeps the metadata.")
CONFIGURED = "configured"
Place = Annotated[
    str,
    typer.Argument(
        help=f"`{CONFIGURED}`, or a URL: sqlite:///… or mongodb://…", show_default=False
    ),
]


@app.command()
def copy(
    source: Place,
    target: Place,
    source_database: Annotated[
        str | None, typer.Option(help="Of MongoDB; else `metadata.database`.")
    ] = None,
    target_database: Annotated[
        str | None, typer.Option(help="Of MongoDB; else `metadata.database`.")
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Copy all metadata into an empty engine; stop every service before.

    One line of JSON for each kind, once it is compared and the same on both sides. Cut off, the
    same command goes on.
    """
    chosen = load_settings(env_file).metadata
    from service.stores.engines import open_records
    from service.usecases.copy_metadata import copy_metadata

    def tell(copied: Copied) -> None:
        told = {"kind": copied.kind.value, "records": copied.records, "sha256": copied.sha256}
        typer.echo(json.dumps(told))

    async def run() -> None:
        there = open_records(_place(chosen, source, source_database))
        here = open_records(_place(chosen, target, target_database))
        try:
            await there.open()
            await here.open()
            await copy_metadata(there, here, tell)
        finally:
            await there.close()
            await here.close()

    asyncio.run(run())


def _place(chosen: Metadata, url: str, database: str | None) -> Metadata:
    from pydantic import SecretStr

    changes: dict[str, object] = {} if url == CONFIGURED else {"url": SecretStr(url)}
    return chosen.model_copy(update=changes | ({"database": database} if database else {}))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Must not be there yet.")],
    env_file: EnvFile = None,
    as_json: JsonDocument = False,
) -> None:
    """Copy SQLite's file while services use it: one moment of it, whole."""
    from service.stores.engines import file_of

    path = file_of(load_settings(env_file).metadata)
    from service.stores.sqlite.backups import back_up

    size = back_up(path, file)
    told = {"file": str(file), "size_bytes": size}
    typer.echo(json.dumps(told) if as_json else f"{file}: {size} bytes")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="Made by `metadata backup`.", exists=True)],
    env_file: EnvFile = None,
) -> None:
    """Put a backup in place, where there is no database; stop every service before."""
    from service.stores.engines import file_of

    path = file_of(load_settings(env_file).metadata)
    from service.stores.sqlite.backups import restore as put_back

    put_back(path, file)
    typer.echo(f"{path}: restored")


@app.command()
def check(env_file: EnvFile = None, as_json: JsonDocument = False) -> None:
    """Look at all of SQLite's file, whatever that takes; a damaged one is exit code 1."""
    from service.stores.engines import file_of

    path = file_of(load_settings(env_file).metadata)
    from service.stores.sqlite.backups import check as look

    found = look(path)
    told = json.dumps(found) if as_json else f"{path}: whole, {found['size_bytes']} bytes"
    typer.echo(told)
