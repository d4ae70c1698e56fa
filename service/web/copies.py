"""`POST /v1/buckets/{bucket}/copies`, `…/moves`, and the restore of an old version.

The bucket in the path is the source's; what the table of routes asks of the API key is about that
one as a whole. Both sides are asked about here, with their keys.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field, StringConstraints

from service.errors import Invalid, InvalidKey, ObjectNotFound
from service.model.api_key import Scope
from service.model.ids import VersionId
from service.model.preconditions import Preconditions
from service.protocol.conditionals import parse_entity_tags, parse_preconditions
from service.protocol.names import (
    BUCKET_PATTERN,
    KEY_PATTERN,
    validate_bucket_name,
    validate_key,
)
from service.usecases.authorize import authorize
from service.usecases.copy_object import CopyRequest, Source, copy_object
from service.usecases.move_object import move_object
from service.usecases.put_object import PutResult
from service.web.describe import Json, describe
from service.web.fields import IDEMPOTENCY, WRITE_CONDITIONS
from service.web.json import Body, read_body
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.writes import (
    IDEMPOTENCY_KEY,
    WRITE_PROBLEMS,
    WRITTEN,
    idempotency_of,
    told,
)

Key = Annotated[str, Field(json_schema_extra={"pattern": KEY_PATTERN})]
BucketName = Annotated[str, Field(json_schema_extra={"pattern": BUCKET_PATTERN})]
Version = Annotated[str, Field(min_length=1, max_length=64)]
_TAG = r'(W/)?"[\x21\x23-\x7e]*"'
IfMatch = Annotated[str, StringConstraints(pattern=rf"^(\*|{_TAG}( ?, ?{_TAG}){{0,99}})$")]


class SourceBody(Body):
    """version: the current one where it is not named. if_match: entity tags, as in the header."""

    key: Key
    version: Version | None = None
    if_match: IfMatch | None = None


class DestinationBody(Body):
    """bucket: the source's where it is not named."""

    key: Key
    bucket: BucketName | None = None


class CopyBody(Body):
    source: SourceBody
    destination: DestinationBody


class RestoreBody(Body):
    """restore: the id of the version that is to be the current one again."""

    restore: Version


@describe(
    "Copy an object; its bytes stay in the store.",
    headers=(*WRITE_CONDITIONS, *IDEMPOTENCY),
    body=Json(CopyBody),
    answers=WRITTEN,
    problems=(*WRITE_PROBLEMS, ObjectNotFound, InvalidKey),
)
async def post_copy(request: web.Request) -> web.Response:
    """The conditions in the header are about the destination."""
    wanted = await _wanted(request, Scope.READ, retries=True)
    return _told(request, wanted, await copy_object(runtime_of(request), wanted))


@describe(
    "Give an object another name.",
    headers=WRITE_CONDITIONS,
    body=Json(CopyBody),
    answers=WRITTEN,
    problems=(*WRITE_PROBLEMS, ObjectNotFound, InvalidKey),
)
async def post_move(request: web.Request) -> web.Response:
    """A move that was done cannot be told from one that never was by asking again, so there is no
    Idempotency-Key for it; the source's `if_match` is what keeps two of them apart."""
    if IDEMPOTENCY_KEY in request.headers:
        raise Invalid("a move takes no Idempotency-Key", field=IDEMPOTENCY_KEY)
    wanted = await _wanted(request, Scope.READ, Scope.DELETE)
    return _told(request, wanted, await move_object(runtime_of(request), wanted))


@describe(
    "Make an old version the current one again, as a new version.",
    headers=(*WRITE_CONDITIONS, *IDEMPOTENCY),
    body=Json(RestoreBody),
    answers=WRITTEN,
    problems=(*WRITE_PROBLEMS, ObjectNotFound),
)
async def post_restore(request: web.Request) -> web.Response:
    body, target, principal = (
        await read_body(request, RestoreBody),
        request[TARGET],
        request[PRINCIPAL],
    )
    authorize(principal, Scope.READ, bucket=target.bucket, key=target.key)
    wanted = CopyRequest(
        tenant=principal.tenant,
        source=Source(target.bucket, target.key, VersionId(body.restore)),
        bucket=target.bucket,
        key=target.key,
        preconditions=parse_preconditions(request.headers),
        idempotency=idempotency_of(request, target.bucket, target.key, about=body.restore),
    )
    return _told(request, wanted, await copy_object(runtime_of(request), wanted))


async def _wanted(request: web.Request, *of_source: Scope, retries: bool = False) -> CopyRequest:
    """Raises Invalid, InvalidKey, InvalidBucketName, Forbidden."""
    body, principal = await read_body(request, CopyBody), request[PRINCIPAL]
    source, destination = body.source, body.destination
    source_bucket = request[TARGET].bucket
    bucket = validate_bucket_name(destination.bucket or source_bucket)
    source_key, key = _key(source.key, "source.key"), _key(destination.key, "destination.key")
    for scope in of_source:
        authorize(principal, scope, bucket=source_bucket, key=source_key)
    authorize(principal, Scope.WRITE, bucket=bucket, key=key)
    return CopyRequest(
        tenant=principal.tenant,
        source=Source(
            source_bucket,
            source_key,
            VersionId(source.version) if source.version else None,
            _condition(source.if_match),
        ),
        bucket=bucket,
        key=key,
        preconditions=parse_preconditions(request.headers),
        idempotency=idempotency_of(request, bucket, key, about=body.model_dump_json())
        if retries
        else None,
    )


def _key(name: str, field: str) -> str:
    try:
        return validate_key(name)
    except InvalidKey as error:
        raise InvalidKey(error.detail, field=field) from error


def _condition(if_match: str | None) -> Preconditions:
    if if_match is None:
        return Preconditions()
    return Preconditions(if_match=parse_entity_tags(if_match))


def _told(request: web.Request, wanted: CopyRequest, result: PutResult) -> web.Response:
    return told(request, result, bucket=wanted.bucket)
