"""key create, ls, revoke: API keys, straight in the metadata store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, JsonDocument, load_settings
from service.model.api_key import ApiKey, Scope
from service.model.ids import KeyId, TenantId

if TYPE_CHECKING:
    from service.settings import Settings
    from service.usecases.keys import NewKey
    from service.usecases.runtime import Runtime

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
_PAGE = 500

Tenant = Annotated[str, typer.Option(help="Whose keys these are.")]


@app.command()
def create(
    env_file: EnvFile = None,
    name: Annotated[str, typer.Option(help="For people, to tell keys apart.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; may be repeated. All by default.")
    ] = None,
    bucket: Annotated[
        list[str] | None, typer.Option(help="Limit it to this bucket; may be repeated.")
    ] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(help="Limit it to keys with this prefix; may be repeated.")
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(min=0, help="Days until it ends; never by default.")
    ] = None,
    tenant: Tenant = "default",
    as_json: JsonDocument = False,
) -> None:
    """Make a key and print its token, which is shown only this once."""
    from service.usecases.keys import NewKey

    ends = timedelta(days=expires_days) if expires_days is not None else None
    wanted = NewKey(
        name=name,
        scopes=frozenset(scope or Scope),
        buckets=tuple(bucket or ()),
        prefixes=tuple(prefix or ()),
        expires_at=datetime.now(UTC) + ends if ends is not None else None,
    )
    key, token = asyncio.run(_create(load_settings(env_file), TenantId(tenant), wanted))
    typer.echo(json.dumps({**_facts(key), "token": token}) if as_json else token)


async def _create(settings: Settings, tenant: TenantId, wanted: NewKey) -> tuple[ApiKey, str]:
    from service.usecases.keys import create_key

    async with _runtime(settings) as runtime:
        return await create_key(runtime, tenant, wanted)


@app.command("ls")
def list_them(env_file: EnvFile = None, tenant: Tenant = "default") -> None:
    """List the keys of a tenant, oldest first, one JSON object a line."""
    for key in asyncio.run(_list(load_settings(env_file), TenantId(tenant))):
        typer.echo(json.dumps(_facts(key)))


async def _list(settings: Settings, tenant: TenantId) -> list[ApiKey]:
    from service.usecases.keys import list_keys

    found: list[ApiKey] = []
    async with _runtime(settings) as runtime:
        after: str | None = ""
        while after is not None:
            page, after = await list_keys(runtime, tenant, after=after, limit=_PAGE)
            found += page
    return found


def _facts(key: ApiKey) -> dict[str, object]:
    def time(moment: datetime | None) -> str | None:
        return moment.isoformat(timespec="milliseconds") if moment else None

    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "buckets": key.buckets,
        "prefixes": key.prefixes,
        "created_at": time(key.created_at),
        "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at),
    }


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, or its whole token.")],
    env_file: EnvFile = None,
    tenant: Tenant = "default",
    as_json: JsonDocument = False,
) -> None:
    """Revoke a key; every process refuses it within a second."""
    from service.protocol.api_tokens import parse_token

    token = parse_token(key)
    key_id = token.key_id if token else KeyId(key)
    asyncio.run(_revoke(load_settings(env_file), TenantId(tenant), key_id))
    typer.echo(json.dumps({"revoked": key_id}) if as_json else f"revoked {key_id}")


async def _revoke(settings: Settings, tenant: TenantId, key: KeyId) -> None:
    from service.usecases.keys import revoke_key

    async with _runtime(settings) as runtime:
        await revoke_key(runtime, tenant, key)


@asynccontextmanager
async def _runtime(settings: Settings) -> AsyncIterator[Runtime]:
    from service.app import open_runtime

    async with open_runtime(settings) as runtime:
        yield runtime
