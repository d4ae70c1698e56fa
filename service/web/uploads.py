"""`PUT` and `DELETE /v1/buckets/{bucket}/objects/{key}`."""

from __future__ import annotations

from aiohttp import hdrs, web

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    InconsistentLength,
    Invalid,
    OutcomeUnknown,
    PreconditionFailed,
    UploadTakenOver,
)
from service.model.version import DeleteMarker
from service.protocol.conditionals import parse_preconditions
from service.protocol.digests import expected_digests, wanted_digests
from service.usecases.delete_object import delete_object as delete
from service.usecases.put_object import PutRequest
from service.usecases.put_object import put_object as put
from service.web.body import RequestBody
from service.web.describe import Raw, Reply, describe
from service.web.downloads import VersionQuery, named_version
from service.web.fields import (
    DELETE_MARKER,
    DIGESTS,
    FACTS,
    IDEMPOTENCY,
    VERSION_ID,
    WANTED_DIGESTS,
    WRITE_CONDITIONS,
)
from service.web.query import query_of
from service.web.resumable import ietf
from service.web.resumable.place import Place
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.writes import WRITE_PROBLEMS, WRITTEN, facts_of, idempotency_of, told


@describe(
    "Upload an object.",
    headers=(*FACTS, *WRITE_CONDITIONS, *DIGESTS, *WANTED_DIGESTS, *IDEMPOTENCY),
    body=Raw(optional=True),
    answers=WRITTEN,
    problems=(*WRITE_PROBLEMS, InconsistentLength, UploadTakenOver),
)
async def put_object(request: web.Request) -> web.Response:
    """201 for a new name, 200 for one that was overwritten, with the version that was made.

    With `Upload-Complete: ?0`, 201 and the URL of an upload to which more can be appended.
    """
    runtime, target = runtime_of(request), request[TARGET]
    if hdrs.CONTENT_RANGE in request.headers:
        raise Invalid("a PUT of a part of an object is not possible", field=hdrs.CONTENT_RANGE)
    if ietf.is_resumable(request):
        return await ietf.create(request, Place(target.bucket, target.key))
    wanted = PutRequest(
        tenant=request[PRINCIPAL].tenant,
        bucket=target.bucket,
        key=target.key,
        facts=facts_of(request.headers, runtime.settings.limits),
        preconditions=parse_preconditions(request.headers),
        declared_size_bytes=request.content_length,
        expected_digests=expected_digests(request.headers),
        wanted_digests=wanted_digests(request.headers),
        idempotency=idempotency_of(request, target.bucket, target.key),
    )
    return told(request, await put(runtime, wanted, RequestBody(request)))


@describe(
    "Delete an object.",
    query=VersionQuery,
    headers=WRITE_CONDITIONS,
    answers={204: Reply(None, DELETE_MARKER, VERSION_ID)},
    problems=(BucketNotFound, BucketDeleting, OutcomeUnknown, PreconditionFailed),
)
async def delete_object(request: web.Request) -> web.Response:
    """204 whether there was something to delete or not."""
    target = request[TARGET]
    deleted = await delete(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        target.bucket,
        target.key,
        parse_preconditions(request.headers),
        named_version(query_of(request, VersionQuery)),
    )
    headers = {} if deleted is None else {VERSION_ID.name: str(deleted.id)}
    if isinstance(deleted, DeleteMarker):
        headers[DELETE_MARKER.name] = "true"
    return web.Response(status=204, headers=headers)
