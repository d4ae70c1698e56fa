"""Resumable Uploads for HTTP (the IETF's draft, interop version 8): requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from aiohttp import HttpVersion11, hdrs, web

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    DigestMismatch,
    InconsistentLength,
    Invalid,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
)
from service.model.resumable import ResumableTerms
from service.model.upload import Upload, UploadState
from service.protocol.conditionals import parse_preconditions
from service.protocol.digests import content_digests, repr_digests, wanted_digests
from service.protocol.resumable_uploads import (
    INTEROP_VERSION,
    MEDIA_TYPE,
    UPLOAD_COMPLETE,
    UPLOAD_DRAFT_INTEROP_VERSION,
    UPLOAD_LIMIT,
    format_complete,
    format_limit,
    read_complete,
    read_integer,
    speaks_this_version,
)
from service.protocol.tus import upload_path
from service.usecases.put_object import PutResult
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.append_to_upload import Appended, append_to_upload
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.end_upload import end_upload
from service.usecases.resumable.find import settled_upload
from service.web.body import RequestBody, body_size
from service.web.resumable.place import Place
from service.web.resumable.stamp import COMPLETE
from service.web.state import PRINCIPAL, runtime_of
from service.web.urls import absolute_url
from service.web.writes import facts_of, idempotency_of, told

OFFSET, LENGTH = "Upload-Offset", "Upload-Length"
_OF_THE_WHOLE = (
    BucketDeleting,
    BucketNotFound,
    DigestMismatch,
    PreconditionFailed,
    UnsupportedMedia,
)
"""What the commit says of the whole: to go on with the upload would not help."""


def is_resumable(request: web.Request) -> bool:
    """Whether a PUT or POST begins an upload that may be resumed."""
    return UPLOAD_COMPLETE in request.headers


async def create(request: web.Request, place: Place) -> web.Response:
    """What the PUT would have answered where all of it came, else 201 with the upload's URL."""
    complete = _complete(request)
    runtime, length = runtime_of(request), _told_length(request, 0, complete=complete)
    metadata = facts_of(request.headers, runtime.settings.limits)
    upload = await create_upload(
        runtime,
        CreateRequest(
            tenant=request[PRINCIPAL].tenant,
            key=place.key,
            terms=ResumableTerms(
                principal=request[PRINCIPAL].id,
                bucket=place.bucket,
                expected_digests=repr_digests(request.headers),
                wanted_digests=wanted_digests(request.headers),
            ),
            facts=metadata,
            preconditions=parse_preconditions(request.headers),
            length_bytes=length,
            idempotency=idempotency_of(request, place.bucket, place.key, about=f"{length}"),
        ),
    )
    location = absolute_url(request, upload_path(upload.ref.id))
    await _announce(request, location)
    done = await _append(request, upload, 0, complete=complete, length=length)
    if done.committed is not None:
        return _finished(request, done.committed)
    headers = {hdrs.LOCATION: location, OFFSET: str(done.offset), UPLOAD_LIMIT: _limit(request)}
    return web.Response(status=201, headers=headers | {UPLOAD_COMPLETE: format_complete(False)})


async def patch(request: web.Request, found: Upload) -> web.Response:
    if request.content_type != MEDIA_TYPE:
        raise UnsupportedMedia(f"send `Content-Type: {MEDIA_TYPE}`")
    offset = read_integer(request.headers, OFFSET)
    if offset is None:
        raise Invalid("send Upload-Offset", field=OFFSET)
    complete = _complete(request)
    length = _told_length(request, offset, complete=complete)
    done = await _append(request, found, offset, complete=complete, length=length)
    if done.committed is not None:
        return _finished(request, done.committed)
    headers = {OFFSET: str(done.offset), UPLOAD_LIMIT: _limit(request)}
    return web.Response(status=204, headers=headers | {UPLOAD_COMPLETE: format_complete(False)})


async def head(request: web.Request, found: Upload) -> web.Response:
    settled = await settled_upload(runtime_of(request), found)
    return web.Response(status=204, headers=state(request, settled))


def state(request: web.Request, upload: Upload) -> dict[str, str]:
    """What a HEAD tells of an upload."""
    headers = {hdrs.CACHE_CONTROL: "no-store", UPLOAD_LIMIT: _limit(request)}
    if upload.state is UploadState.COMMITTED and upload.completion is not None:
        size = str(upload.completion.size_bytes)
        return headers | {OFFSET: size, LENGTH: size, UPLOAD_COMPLETE: format_complete(True)}
    assert upload.progress is not None
    if upload.progress.length_bytes is not None:
        headers[LENGTH] = str(upload.progress.length_bytes)
    if upload.lease_until is not None:
        left_s = (upload.lease_until - datetime.now(UTC)).total_seconds()
        headers[UPLOAD_LIMIT] = _limit(request, max(0, round(left_s)))
    offset = str(upload.progress.offset)
    return headers | {OFFSET: offset, UPLOAD_COMPLETE: format_complete(False)}


async def _append(
    request: web.Request, found: Upload, offset: int, *, complete: bool, length: int | None
) -> Appended:
    wanted = AppendRequest(
        offset,
        length_bytes=length,
        size_bytes=body_size(request),
        closes=complete,
        expected_digests=content_digests(request.headers),
    )
    runtime = runtime_of(request)
    with _of_the_whole(request, complete=complete):
        try:
            return await append_to_upload(runtime, found, wanted, RequestBody(request))
        except TooLarge:
            # The draft wants an upload to be over that was sent more than it was to get.
            await end_upload(runtime, found.intent.tenant, found.ref.id)
            raise


@contextmanager
def _of_the_whole(request: web.Request, *, complete: bool) -> Iterator[None]:
    """Errors of the resource, not of the transfer, say so by `Upload-Complete: ?1`."""
    request[COMPLETE] = format_complete(False)
    try:
        yield
    except _OF_THE_WHOLE:
        request[COMPLETE] = format_complete(complete)
        raise


def _finished(request: web.Request, committed: Upload) -> web.Response:
    terms = committed.intent.resumable
    assert terms is not None
    result = PutResult(committed.version(), created=not committed.replaced)
    response = told(request, result, bucket=terms.bucket)
    response.headers[UPLOAD_COMPLETE] = format_complete(True)
    response.headers[UPLOAD_LIMIT] = _limit(request)
    return response


async def _announce(request: web.Request, location: str) -> None:
    """104, so that whoever is cut off from here on knows where to go on.

    Only to clients that understand it: others may take an interim response for the final one.
    """
    if request.version < HttpVersion11 or not speaks_this_version(request.headers):
        return
    lines = (
        "HTTP/1.1 104 Upload Resumption Supported",
        f"{UPLOAD_DRAFT_INTEROP_VERSION}: {INTEROP_VERSION}",
        f"Location: {location}",
        f"{UPLOAD_LIMIT}: {_limit(request)}",
    )
    await request.writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
    request.writer.output_size = 0


def _limit(request: web.Request, max_age_s: int | None = None) -> str:
    settings = runtime_of(request).settings
    age = settings.uploads.ttl_s if max_age_s is None else max_age_s
    return format_limit(max_size=settings.limits.max_object_bytes, max_age=round(age))


def _complete(request: web.Request) -> bool:
    complete = read_complete(request.headers)
    if complete is None:
        raise Invalid("send `Upload-Complete: ?1` or `?0`", field=UPLOAD_COMPLETE)
    return complete


def _told_length(request: web.Request, offset: int, *, complete: bool) -> int | None:
    """By Upload-Length, or by the length of the last content. Raises InconsistentLength."""
    told = read_integer(request.headers, LENGTH)
    size = body_size(request)
    if not complete or size is None:
        return told
    end = offset + size
    if told not in (None, end):
        raise InconsistentLength(f"Upload-Length says {told}, the content ends at {end}")
    return end
