"""`GET` and `HEAD /v1/buckets/{bucket}/objects/{key}[?version=][&download=]`."""

from __future__ import annotations

from aiohttp import web

from service.errors import BlobMissing, Invalid
from service.model.ids import VersionId
from service.usecases.get_object import find_version
from service.web.delivery import deliver, plan_delivery
from service.web.redirect import may_redirect, redirect
from service.web.state import PRINCIPAL, STARTED, TARGET, runtime_of


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
    named = named_version(request)
    bucket, version = await find_version(
        runtime, request[PRINCIPAL].tenant, target.bucket, target.key, named
    )
    plan = plan_delivery(
        request,
        bucket,
        version,
        pinned=named is not None,
        download_as=request.query.get("download"),
    )
    if may_redirect(request, runtime, bucket, plan):
        return await redirect(runtime, version, plan)
    return await deliver(request, runtime, version, plan)


def named_version(request: web.Request) -> VersionId | None:
    """The version that the query asks for. Raises Invalid where it is empty."""
    named = request.query.get("version")
    if named == "":
        raise Invalid("version must be the id of a version", field="version")
    return None if named is None else VersionId(named)
