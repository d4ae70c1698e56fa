"""init, migrate, config: prepare and look at an installation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, as_toml, load_settings
from service.cli.failures import FAILED
from service.errors import BucketExists, StoreUnavailable

if TYPE_CHECKING:
    from service.model.blob import StoreAbilities
    from service.settings import Settings

app = typer.Typer()
_RETRY_S = 1.0


@app.command()
def init(
    env_file: EnvFile = None,
    bucket: Annotated[
        list[str] | None, typer.Option(help="A first bucket to make; may be repeated.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose buckets these are.")] = "default",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the servers to come up.")
    ] = 0,
) -> None:
    """Make the S3 bucket, the indexes and the first buckets; what is there already stays."""
    settings = load_settings(env_file)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            made = asyncio.run(_init(settings, bucket or [], tenant))
            break
        except StoreUnavailable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)
    for line in made:
        typer.echo(line)


async def _init(settings: Settings, buckets: list[str], tenant: str) -> list[str]:
    from service.app import open_runtime
    from service.model.bucket import BucketSettings
    from service.model.ids import TenantId
    from service.protocol.names import validate_bucket_name
    from service.usecases.create_bucket import create_bucket

    for name in buckets:
        validate_bucket_name(name)
    async with open_runtime(settings) as runtime:
        lines = [f"S3 bucket {settings.s3.bucket}: ready", "metadata indexes: ready"]
        for name in buckets:
            try:
                _, made = await create_bucket(runtime, TenantId(tenant), name, BucketSettings())
            except BucketExists:
                made = False
            lines.append(f"bucket {name}: {'made' if made else 'there already'}")
        return lines


@app.command()
def migrate(env_file: EnvFile = None) -> None:
    """Bring the database's schema up to this release; stop the services before."""
    settings = load_settings(env_file)
    version = asyncio.run(_migrate(settings))
    typer.echo(f"schema {version}")


async def _migrate(settings: Settings) -> int:
    from service.stores.mongo import open_metadata

    metadata = open_metadata(settings.metadata)
    try:
        return await metadata.migrate()
    finally:
        await metadata.close()


@app.command()
def config(
    env_file: EnvFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also ask the stores what they can do.")
    ] = False,
) -> None:
    """Print the settings in force as TOML, secrets masked."""
    settings = load_settings(env_file)
    typer.echo(as_toml(settings))
    if not check:
        return
    abilities = asyncio.run(_check(settings))
    typer.echo("\n# metadata store: answers, schema fits")
    typer.echo(f"# S3 store: answers, part checksum {abilities.part_checksum.value}")
    for problem in abilities.problems:
        typer.echo(f"# S3 store: NOT FIT FOR USE: {problem}")
    if abilities.problems:
        raise typer.Exit(FAILED)


@app.command()
def openapi(env_file: EnvFile = None) -> None:
    """Print the API as an OpenAPI 3.1 document, as `/openapi.json` serves it."""
    from service.web.reference import Reference
    from service.web.routes import ROUTES

    settings = load_settings(env_file)
    typer.echo(Reference(ROUTES, settings.http.public_url).document.body.decode())


async def _check(settings: Settings) -> StoreAbilities:
    from service.app import open_runtime

    async with open_runtime(settings) as runtime:
        return await runtime.blobs.probe()
