"""The first API key of a data folder: in a file for people, in the database for the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from service.devstack.data_folder import write_private
from service.model.api_key import ApiKey, Scope
from service.model.ids import DEFAULT_TENANT, KeyId, new_id
from service.protocol.api_tokens import ApiToken, format_token, new_token, parse_token
from service.settings import Settings

if TYPE_CHECKING:
    from service.stores.ports import MetadataStore

NAME = "first key"


def ensure_first_key(path: Path, settings: Settings) -> str:
    """The token in the file, known to the database with every scope; made where there is none.

    A database that does not know the file's key (it belongs to another S3 server, or was removed)
    is told of it; a key that was revoked or altered is replaced.
    """
    kept = parse_token(path.read_text().strip()) if path.exists() else None
    token = asyncio.run(_make_known(settings, kept))
    if token != kept:
        write_private(path, format_token(token) + "\n")
    return format_token(token)


async def _make_known(settings: Settings, kept: ApiToken | None) -> ApiToken:
    """Asks the metadata alone, so that a service may be on its way up meanwhile."""
    from service.stores.engines import open_metadata

    metadata = open_metadata(settings.metadata)
    try:
        await metadata.start(checking=False)
        return await _known_by(metadata, kept)
    finally:
        await metadata.close()


async def _known_by(metadata: MetadataStore, kept: ApiToken | None) -> ApiToken:
    known = await metadata.keys.get(kept.key_id) if kept else None
    if kept and known and _still_good(known, kept):
        return kept
    token = kept if kept and not known else new_token(KeyId(new_id()))
    await metadata.keys.create(
        ApiKey(
            id=token.key_id,
            tenant=DEFAULT_TENANT,
            name=NAME,
            secret_sha256=token.secret_sha256,
            scopes=frozenset(Scope),
            created_at=await metadata.now(),
        )
    )
    return token


def _still_good(known: ApiKey, kept: ApiToken) -> bool:
    return known.revoked_at is None and known.secret_sha256 == kept.secret_sha256
