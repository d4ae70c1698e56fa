"""`/v1/keys`: API keys of the tenant, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, Field, StringConstraints

from service.errors import Invalid, InvalidBucketName, InvalidCursor, InvalidKey, KeyNotFound
from service.model.api_key import ApiKey, Scope
from service.model.ids import KeyId
from service.protocol.names import (
    BUCKET_PATTERN,
    PREFIX_PATTERN,
    validate_bucket_name,
    validate_prefix,
)
from service.usecases.keys import NewKey, create_key, list_keys, revoke_key
from service.web.describe import Json, Reply, describe
from service.web.fields import LINK, LOCATION
from service.web.json import Answer, Body, Timestamp, answer, read_body
from service.web.pages import next_of, read_after
from service.web.query import PageQuery, query_of
from service.web.state import AUTHENTICATOR, PRINCIPAL, TARGET, runtime_of
from service.web.urls import absolute_url

LISTING = "keys"
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]
# The patterns look ahead, which pydantic's do not: they only tell what the handler checks.
BucketName = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": BUCKET_PATTERN})]
KeyPrefix = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": PREFIX_PATTERN})]


class KeyBody(Body):
    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(Scope))]
    buckets: Annotated[tuple[BucketName, ...], Field(max_length=100)] = ()
    prefixes: Annotated[tuple[KeyPrefix, ...], Field(max_length=100)] = ()
    expires_at: AwareDatetime | None = None


class KeyAnswer(Answer):
    id: str
    name: str
    scopes: tuple[Scope, ...]
    buckets: tuple[str, ...]
    prefixes: tuple[str, ...]
    created_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None


class NewKeyAnswer(KeyAnswer):
    """token: shown this once."""

    token: str


class KeyPage(Answer):
    items: tuple[KeyAnswer, ...]
    next: str | None


@describe(
    "Make an API key.",
    body=Json(KeyBody),
    answers={201: Reply(NewKeyAnswer, LOCATION)},
    problems=(InvalidBucketName, InvalidKey),
)
async def post_key(request: web.Request) -> web.Response:
    body = await read_body(request, KeyBody)
    wanted = NewKey(
        name=body.name,
        scopes=frozenset(body.scopes),
        buckets=tuple(validate_bucket_name(name) for name in body.buckets),
        prefixes=tuple(validate_prefix(prefix) for prefix in body.prefixes),
        expires_at=_in_utc(body.expires_at) if body.expires_at else None,
    )
    key, token = await create_key(runtime_of(request), request[PRINCIPAL].tenant, wanted)
    return answer(
        NewKeyAnswer(**_shown(key).model_dump(mode="python"), token=token),
        status=201,
        headers={"Location": absolute_url(request, f"/v1/keys/{key.id}")},
    )


def _in_utc(moment: datetime) -> datetime:
    """Raises Invalid at the ends of the calendar, where UTC would be in another year."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise Invalid("expires_at is not within the years 1 to 9999", field="expires_at") from error


@describe(
    "API keys, by pages.",
    query=PageQuery,
    answers={200: Reply(KeyPage, LINK)},
    problems=(InvalidCursor,),
)
async def get_keys(request: web.Request) -> web.Response:
    query = query_of(request, PageQuery)
    found, last = await list_keys(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        after=read_after(query.cursor, LISTING),
        limit=query.limit,
    )
    cursor, headers = next_of(request, LISTING, last)
    return answer(KeyPage(items=tuple(map(_shown, found)), next=cursor), headers=headers)


@describe("Revoke an API key.", answers={204: Reply()}, problems=(KeyNotFound,))
async def delete_key(request: web.Request) -> web.Response:
    """Revoke; refused by this process from the moment of the answer."""
    key = KeyId(request[TARGET].id)
    await revoke_key(runtime_of(request), request[PRINCIPAL].tenant, key)
    request.config_dict[AUTHENTICATOR].revoked(key)
    return web.Response(status=204)


def _shown(key: ApiKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        name=key.name,
        scopes=tuple(sorted(key.scopes)),
        buckets=key.buckets,
        prefixes=key.prefixes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
