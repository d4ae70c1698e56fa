"""init, migrate, config: prepare and look at an installation."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, JsonDocument, as_toml, load_settings
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
    as_json: JsonDocument = False,
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
    if as_json:
        told = [{"name": name, "made": new} for name, new in made.items()]
        typer.echo(json.dumps({"s3_bucket": settings.s3.bucket, "buckets": told}))
        return
    typer.echo(f"S3 bucket {settings.s3.bucket}: ready")
    typer.echo("metadata indexes: ready")
    for name, new in made.items():
        typer.echo(f"bucket {name}: {'made' if new else 'there already'}")


async def _init(settings: Settings, buckets: list[str], tenant: str) -> dict[str, bool]:
    """Whether each bucket was made now."""
    from service.app import open_runtime
    from service.model.bucket import BucketSettings
    from service.model.ids import TenantId
    from service.protocol.names import validate_bucket_name
    from service.usecases.create_bucket import create_bucket

    for name in buckets:
        validate_bucket_name(name)
    async with open_runtime(settings) as runtime:
        found: dict[str, bool] = {}
        for name in buckets:
            try:
                _, made = await create_bucket(runtime, TenantId(tenant), name, BucketSettings())
            except BucketExists:
                made = False
            found[name] = made
        return found


@app.command()
def migrate(env_file: EnvFile = None, as_json: JsonDocument = False) -> None:
    """Bring the database's schema up to this release; stop the services before."""
    settings = load_settings(env_file)
    version = asyncio.run(_migrate(settings))
    typer.echo(json.dumps({"schema": version}) if as_json else f"schema {version}")


async def _migrate(settings: Settings) -> int:
    from service.stores.engines import open_metadata

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
    as_json: JsonDocument = False,
) -> None:
    """Print the settings in force as TOML, secrets masked."""
    settings = load_settings(env_file)
    if not as_json:
        typer.echo(as_toml(settings))
    abilities = asyncio.run(_check(settings)) if check else None
    if as_json:
        told: dict[str, object] = {"settings": settings.model_dump(mode="json")}
        if abilities is not None:
            told["part_checksum"] = abilities.part_checksum.value
            told["problems"] = list(abilities.problems)
        typer.echo(json.dumps(told, ensure_ascii=False))
    elif abilities is not None:
        typer.echo("\n# metadata store: answers, schema fits")
        typer.echo(f"# S3 store: answers, part checksum {abilities.part_checksum.value}")
        for problem in abilities.problems:
            typer.echo(f"# S3 store: NOT FIT FOR USE: {problem}")
    if abilities is not None and abilities.problems:
        raise typer.Exit(FAILED)


@app.command()
def openapi(env_file: EnvFile = None) -> None:
    """Print the API as an OpenAPI 3.1 document, as `/openapi.json` serves it."""
    from service.web.openapi.document import build
    from service.web.routes import ROUTES

    settings = load_settings(env_file)
    typer.echo(json.dumps(build(ROUTES, settings.http.public_url), indent=2, ensure_ascii=False))


async def _check(settings: Settings) -> StoreAbilities:
    from service.app import open_runtime

    async with open_runtime(settings) as runtime:
        return await runtime.blobs.probe()
