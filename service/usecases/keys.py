"""API keys: made (the token is shown once), listed, revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.errors import Invalid, KeyNotFound
from service.model.api_key import ApiKey, Scope
from service.model.ids import KeyId, TenantId, new_id
from service.protocol.api_tokens import format_token, new_token
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key may do. buckets, prefixes: what it is limited to, empty for all."""

    name: str
    scopes: frozenset[Scope]
    buckets: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    expires_at: datetime | None = None


async def create_key(runtime: Runtime, tenant: TenantId, wanted: NewKey) -> tuple[ApiKey, str]:
    """Returns the key and its token, which nobody can read again. Raises Invalid."""
    now = await runtime.metadata.now()
    if not wanted.scopes:
        raise Invalid("a key needs at least one scope", field="scopes")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise Invalid("expires_at is in the past", field="expires_at")
    token = new_token(KeyId(new_id()))
    key = ApiKey(
        id=token.key_id,
        tenant=tenant,
        name=wanted.name,
        secret_sha256=token.secret_sha256,
        scopes=wanted.scopes,
        created_at=now,
        buckets=wanted.buckets,
        prefixes=wanted.prefixes,
        expires_at=wanted.expires_at,
    )
    await runtime.metadata.keys.create(key)
    return key, format_token(token)


async def list_keys(
    runtime: Runtime, tenant: TenantId, *, after: str, limit: int
) -> tuple[list[ApiKey], str | None]:
    """By id, which is by age; and the id to go on after, if any. Revoked ones are there too."""
    page = await runtime.metadata.keys.list(tenant, after=after, limit=limit + 1)
    return page[:limit], page[limit - 1].id if len(page) > limit else None


async def revoke_key(runtime: Runtime, tenant: TenantId, key: KeyId) -> None:
    """Idempotent. Raises KeyNotFound where the tenant never had such a key."""
    if not await runtime.metadata.keys.revoke(tenant, key):
        raise KeyNotFound("there is no API key of this id")
