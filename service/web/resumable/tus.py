"""tus 1.0.0: how its requests are read and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import hdrs, web

from service.errors import (
    DigestMismatch,
    Invalid,
    OutcomeUnknown,
    SlowClient,
    UnsupportedMedia,
    UploadTakenOver,
)
from service.model.blob import StoreAbilities
from service.model.resumable import ResumableTerms, UploadKind
from service.model.upload import Upload, UploadState
from service.protocol.conditionals import format_etag, parse_preconditions
from service.protocol.digests import repr_digests, wanted_digests
from service.protocol.headers import combined
from service.protocol.http_dates import format_http_date
from service.protocol.tus import (
    CHECKSUMS,
    CONCATENATION,
    EXTENSIONS,
    MEDIA_TYPE,
    VERSION,
    ChecksumMismatch,
    Final,
    TusVersionMismatch,
    parse_checksum,
    parse_concat,
    parse_number,
    upload_path,
)
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.append_to_upload import Appended, append_to_upload
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.find import settled_upload
from service.usecases.resumable.join_uploads import join_uploads
from service.usecases.runtime import Runtime
from service.web.body import RequestBody, body_size
from service.web.middleware import cut
from service.web.query import query_of
from service.web.resumable.place import (
    Place,
    PlaceQuery,
    described,
    place_of,
)
from service.web.resumable.stamp import TUS_RESUMABLE
from service.web.state import PRINCIPAL, runtime_of
from service.web.urls import absolute_url
from service.web.writes import idempotency_of

CONCAT, LENGTH, DEFER = "Upload-Concat", "Upload-Length", "Upload-Defer-Length"
OFFSET, EXPIRES, METADATA = "Upload-Offset", "Upload-Expires", "Upload-Metadata"


def is_tus(request: web.Request) -> bool:
    return TUS_RESUMABLE in request.headers


def check_version(request: web.Request) -> None:
    """Raises TusVersionMismatch: nothing of the request counts then."""
    if combined(request.headers, TUS_RESUMABLE) != VERSION:
        raise TusVersionMismatch(f"send `{TUS_RESUMABLE}: {VERSION}`")


def told_options(abilities: StoreAbilities, max_size: int) -> dict[str, str]:
    """What an OPTIONS tells of tus."""
    extensions = [*EXTENSIONS, *([CONCATENATION] if abilities.copies_parts else [])]
    return {
        TUS_RESUMABLE: VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(extensions),
        "Tus-Max-Size": str(max_size),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }


async def create(request: web.Request) -> web.Response:
    """201, with the first bytes of the upload where the request has any."""
    check_version(request)
    runtime = runtime_of(request)
    concat = combined(request.headers, CONCAT)
    wanted = parse_concat(concat) if concat is not None else None
    if isinstance(wanted, Final):
        final = await join_uploads(
            runtime, _wanted(request, UploadKind.FINAL, concat, None), wanted.partial
        )
        return web.Response(status=201, headers=_location(request, final))
    kind = UploadKind.PARTIAL if wanted is not None else UploadKind.WHOLE
    length = _told_length(request, required=True)
    has_body = body_size(request) != 0
    if has_body:
        _check_type(request)
    checksum = _checksum(request)
    upload = await create_upload(runtime, _wanted(request, kind, concat, length))
    headers = _location(request, upload)
    if has_body or length == 0:
        headers |= _told(await _append(request, upload, 0, None, checksum))
    return web.Response(status=201, headers=headers)


def _wanted(
    request: web.Request, kind: UploadKind, concat: str | None, length: int | None
) -> CreateRequest:
    """Raises Invalid, InvalidBucketName, InvalidKey, Forbidden."""
    runtime, query = runtime_of(request), query_of(request, PlaceQuery)
    metadata = combined(request.headers, METADATA)
    told = described(metadata, runtime.settings.limits)
    place = Place()
    if kind is not UploadKind.PARTIAL:
        place = place_of(request, told.bucket or query.bucket, told.key or query.key)
    return CreateRequest(
        tenant=request[PRINCIPAL].tenant,
        key=place.key,
        terms=ResumableTerms(
            principal=request[PRINCIPAL].id,
            bucket=place.bucket,
            kind=kind,
            told_metadata=metadata,
            told_concat=concat,
            expected_digests=repr_digests(request.headers),
            wanted_digests=wanted_digests(request.headers),
        ),
        facts=told.facts,
        preconditions=parse_preconditions(request.headers),
        length_bytes=length,
        idempotency=idempotency_of(
            request, place.bucket, place.key, about=f"{length} {metadata} {concat}"
        ),
    )


async def patch(request: web.Request, found: Upload) -> web.Response:
    _check_type(request)
    if OFFSET not in request.headers:
        raise Invalid("send Upload-Offset", field=OFFSET)
    checksum = _checksum(request)
    offset = parse_number(request.headers[OFFSET], OFFSET)
    length = _told_length(request, required=False)
    return web.Response(
        status=204, headers=_told(await _append(request, found, offset, length, checksum))
    )


async def _append(
    request: web.Request,
    upload: Upload,
    offset: int,
    length: int | None,
    checksum: Mapping[str, bytes],
) -> Appended:
    """tus has a status of its own for a body that is not what its checksum says. For a body that
    stalls it wants the connection closed; clients take a 408 for the end of it all."""
    wanted = AppendRequest(offset, length, body_size(request), expected_digests=checksum)
    try:
        return await append_to_upload(runtime_of(request), upload, wanted, RequestBody(request))
    except DigestMismatch as error:
        if not checksum:
            raise
        raise ChecksumMismatch(error.detail) from error
    except SlowClient as error:
        raise cut(request, 408) from error


async def head(request: web.Request, found: Upload) -> web.Response:
    runtime = runtime_of(request)
    settled = await _closed(runtime, await settled_upload(runtime, found))
    return web.Response(status=200, headers=_state(settled))


async def _closed(runtime: Runtime, found: Upload) -> Upload:
    """tus takes an upload for complete that has its length, so it must be."""
    terms, progress = found.intent.resumable, found.progress
    if progress is None or terms is None or terms.kind is not UploadKind.WHOLE:
        return found
    if not progress.is_full or progress.closed:
        return found
    request = AppendRequest(progress.offset, size_bytes=0, closes=True)
    try:
        done = await append_to_upload(runtime, found, request, _nothing())
    except UploadTakenOver as error:
        raise OutcomeUnknown("the upload is being finished", retry_after_s=1) from error
    return done.committed or found


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


def _state(upload: Upload) -> dict[str, str]:
    terms, progress = upload.intent.resumable, upload.progress
    assert terms is not None
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    if terms.told_metadata is not None:
        headers[METADATA] = terms.told_metadata
    if terms.told_concat is not None:
        headers[CONCAT] = terms.told_concat
    if upload.state is UploadState.COMMITTED and upload.completion is not None:
        size = str(upload.completion.size_bytes)
        return headers | {OFFSET: size, LENGTH: size}
    assert progress is not None
    if terms.kind is not UploadKind.FINAL:
        headers[OFFSET] = str(progress.offset)
    if progress.length_bytes is None:
        headers[DEFER] = "1"
    else:
        headers[LENGTH] = str(progress.length_bytes)
    if upload.lease_until is not None:
        headers[EXPIRES] = format_http_date(upload.lease_until)
    return headers


def _location(request: web.Request, upload: Upload) -> dict[str, str]:
    headers: dict[str, str] = {hdrs.LOCATION: absolute_url(request, upload_path(upload.ref.id))}
    if upload.lease_until is not None:
        headers[EXPIRES] = format_http_date(upload.lease_until)
    return headers


def _told(done: Appended) -> dict[str, str]:
    headers = {OFFSET: str(done.offset)}
    if done.expires_at is not None:
        headers[EXPIRES] = format_http_date(done.expires_at)
    if done.committed is not None:
        version = done.committed.version()
        headers |= {hdrs.ETAG: format_etag(version.etag), "X-Version-Id": version.id}
    return headers


def _told_length(request: web.Request, *, required: bool) -> int | None:
    headers = request.headers
    if DEFER in headers and headers[DEFER] != "1":
        raise Invalid("Upload-Defer-Length is 1 or absent", field=DEFER)
    if LENGTH in headers:
        if required and DEFER in headers:
            raise Invalid("a length is told or deferred, not both", field=DEFER)
        return parse_number(headers[LENGTH], LENGTH)
    if required and DEFER not in headers:
        raise Invalid("send Upload-Length, or `Upload-Defer-Length: 1`", field=LENGTH)
    return None


def _check_type(request: web.Request) -> None:
    if request.content_type != MEDIA_TYPE:
        raise UnsupportedMedia(f"send `Content-Type: {MEDIA_TYPE}`")


def _checksum(request: web.Request) -> dict[str, bytes]:
    field = combined(request.headers, "Upload-Checksum")
    return parse_checksum(field) if field is not None else {}
