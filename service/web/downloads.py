"""`GET` and `HEAD /v1/buckets/{bucket}/objects/{key}[?version=][&download=]`."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from service.errors import (
    BlobMissing,
    BucketNotFound,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from service.model.ids import VersionId
from service.usecases.get_object import find_version
from service.web.delivery import deliver, plan_delivery
from service.web.describe import Reply, describe
from service.web.fields import (
    CACHE_CONTROL,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    LOCATION,
    RANGES,
    READ_CONDITIONS,
    REPR_DIGEST,
    STORED_FACTS,
)
from service.web.query import Query, query_of
from service.web.redirect import may_redirect, redirect
from service.web.state import PRINCIPAL, STARTED, TARGET, runtime_of


class VersionQuery(Query):
    version: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="The id of the very version; the current one where it is not given."
    )


class DownloadQuery(VersionQuery):
    download: str | None = Field(
        None, description="Saved under this name; empty for the object's own."
    )


_DESCRIBED = (ETAG, CACHE_CONTROL, LAST_MODIFIED, REPR_DIGEST, *STORED_FACTS)


@describe(
    "The bytes of an object.",
    query=DownloadQuery,
    headers=(*RANGES, *READ_CONDITIONS),
    answers={
        200: Reply("*/*", *_DESCRIBED, says="All of it."),
        206: Reply("*/*", *_DESCRIBED, CONTENT_RANGE, says="The ranges that were asked for."),
        304: Reply(None, ETAG, CACHE_CONTROL, says="What the client has is still good."),
        307: Reply(None, ETAG, LOCATION, says="The store has it, under this URL, for a while."),
    },
    problems=(BucketNotFound, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable),
)
async def get_object(request: web.Request) -> web.StreamResponse:
    """Where the blob is gone before the first byte, its version was overwritten or deleted between
    two reads: look once more, and answer for what there is now."""
    try:
        return await _get(request)
    except BlobMissing:
        if STARTED in request:
            raise
        return await _get(request)


async def _get(request: web.Request) -> web.StreamResponse:
    runtime, target = runtime_of(request), request[TARGET]
    query = query_of(request, DownloadQuery)
    named = named_version(query)
    bucket, version = await find_version(
        runtime, request[PRINCIPAL].tenant, target.bucket, target.key, named
    )
    plan = plan_delivery(
        request,
        bucket,
        version,
        pinned=named is not None,
        download_as=query.download,
    )
    if may_redirect(request, runtime, bucket, plan):
        return await redirect(runtime, version, plan)
    return await deliver(request, runtime, version, plan)


def named_version(query: VersionQuery) -> VersionId | None:
    return None if query.version is None else VersionId(query.version)
