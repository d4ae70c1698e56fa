"""`POST /v1/buckets/{bucket}/objects`: a form, or with `?expand=` an archive that is unpacked.

The body is the archive, streamed: one object for each of its files, with the facts that the
header fields say (those of a PUT that speak of no single file). 201 where at least one name is new,
200 where all were there, 207 where some entries were refused, which happens with `atomic=false`
only.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import hdrs, web
from multidict import CIMultiDict
from pydantic import Field

from service.errors import BucketNotFound, Invalid, InvalidKey, MediagateError, UnsupportedMedia
from service.model.api_key import Scope
from service.model.version import ObjectFacts
from service.protocol.conditionals import parse_preconditions
from service.protocol.digests import wanted_digests
from service.protocol.names import validate_prefix
from service.usecases.authorize import authorize
from service.usecases.expand_archive import ExpandRequest, Expansion, Refused
from service.usecases.put_object import PutResult
from service.web.body import RequestBody
from service.web.describe import Raw, Reply, describe
from service.web.fields import FACTS, IDEMPOTENCY, WANTED_DIGESTS, WRITE_CONDITIONS
from service.web.files_answer import FilesAnswer, RefusedFile, refused
from service.web.form import FORM, post_form
from service.web.json import answer
from service.web.query import Query, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.version_answer import VersionAnswer, shown
from service.web.writes import IDEMPOTENCY_KEY, WRITE_PROBLEMS, facts_of

_OF_EACH = ("cache-control", "content-language", "x-tags")
_OF_NONE = (
    hdrs.CONTENT_ENCODING,
    hdrs.CONTENT_MD5,
    hdrs.CONTENT_RANGE,
    "Content-Digest",
    "Repr-Digest",
    IDEMPOTENCY_KEY,
)
"""Whoever sends one expects something that is not done."""


class ExpandQuery(Query):
    expand: Literal["zip", "tar", "tar.gz"] | None = Field(
        None, description="The body is such an archive, to be unpacked."
    )
    prefix: str | None = Field(None, description="Put before the name of each entry.")
    atomic: bool | None = Field(
        None, description="All entries or none (the default); false: each by itself."
    )


@describe(
    "Upload files as a browser's form, or as an archive.",
    query=ExpandQuery,
    headers=(
        *(field for field in FACTS if field.name.lower() in (*_OF_EACH, "x-meta-*")),
        *WRITE_CONDITIONS,
        *WANTED_DIGESTS,
        *IDEMPOTENCY,
    ),
    body=(FORM, Raw(("application/zip", "application/x-tar", "application/gzip"))),
    answers={
        201: Reply(FilesAnswer, says="At least one name is new."),
        200: Reply(FilesAnswer, says="All names were there: overwritten."),
        207: Reply(FilesAnswer, says="Some entries of the archive were refused."),
    },
    problems=(*WRITE_PROBLEMS, InvalidKey),
)
async def post_objects(request: web.Request) -> web.Response:
    query = query_of(request, ExpandQuery)
    if query.expand is not None:
        return await _expand(request, query, query.expand)
    for name in ("prefix", "atomic"):
        if getattr(query, name) is not None:
            raise Invalid(f"`{name}` goes with `expand`", parameter=name)
    return await post_form(request)


async def _expand(request: web.Request, query: ExpandQuery, format: str) -> web.Response:
    runtime, wanted = runtime_of(request), _wanted(request, query, format)
    if await runtime.metadata.buckets.get(wanted.tenant, wanted.bucket) is None:
        raise BucketNotFound(f"there is no bucket {wanted.bucket!r}")
    expansion = Expansion(runtime, wanted)
    try:
        await expansion.run(RequestBody(request))
    except MediagateError as error:
        if not wanted.atomic:
            items = _items(wanted.bucket, expansion)
            error.extras["items"] = [item.model_dump(mode="json") for item in items]
        raise
    items = _items(wanted.bucket, expansion)
    stored = [each for each in expansion.outcomes if isinstance(each, PutResult)]
    failed = len(items) - len(stored)
    new = any(result.created for result in stored)
    return answer(
        FilesAnswer(items=items, created=len(stored), failed=failed),
        status=207 if failed else 201 if new else 200,
    )


def _wanted(request: web.Request, query: ExpandQuery, format: str) -> ExpandRequest:
    """Raises Invalid, UnsupportedMedia."""
    for name in _OF_NONE:
        if name in request.headers:
            raise Invalid(f"{name} does not go with `expand`", field=name)
    if request.content_type.startswith("multipart/"):
        raise UnsupportedMedia("with `expand` the body is the archive itself, not a form")
    try:
        prefix = validate_prefix(query.prefix or "")
    except InvalidKey as error:
        raise Invalid(error.detail, parameter="prefix") from error
    principal, bucket = request[PRINCIPAL], request[TARGET].bucket
    return ExpandRequest(
        tenant=principal.tenant,
        bucket=bucket,
        prefix=prefix,
        format=format,
        atomic=query.atomic is not False,
        allow=lambda key: authorize(principal, Scope.WRITE, bucket=bucket, key=key),
        facts=_facts_of_each(request),
        preconditions=parse_preconditions(request.headers),
        wanted_digests=wanted_digests(request.headers),
    )


def _facts_of_each(request: web.Request) -> ObjectFacts:
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() in _OF_EACH or name.lower().startswith("x-meta-")
    )
    return facts_of(headers, runtime_of(request).settings.limits)


def _items(bucket: str, expansion: Expansion) -> list[VersionAnswer | RefusedFile]:
    return [
        refused(each.name, each.error) if isinstance(each, Refused) else shown(bucket, each.version)
        for each in expansion.outcomes
    ]
