"""`/v1/uploads` and `/v1/uploads/{id}`: which protocol a request speaks, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs, web

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    DigestMismatch,
    IdempotencyMismatch,
    InconsistentLength,
    Invalid,
    InvalidBucketName,
    InvalidCursor,
    InvalidKey,
    OffsetMismatch,
    PreconditionFailed,
    UnsupportedMedia,
    UploadComplete,
    UploadGone,
    UploadNotFound,
    UploadTakenOver,
)
from service.model.ids import UploadId
from service.model.resumable import UploadKind
from service.model.upload import Upload
from service.protocol.resumable_uploads import MEDIA_TYPE as IETF_MEDIA
from service.protocol.resumable_uploads import UPLOAD_LIMIT, format_limit
from service.protocol.tus import MEDIA_TYPE as TUS_MEDIA
from service.protocol.tus import ChecksumMismatch, TusVersionMismatch, upload_path
from service.usecases.resumable.end_upload import end_upload
from service.usecases.resumable.find import find_upload
from service.usecases.resumable.list_uploads import list_uploads
from service.web.describe import Raw, Reply, describe
from service.web.fields import LINK, LOCATION
from service.web.json import Answer, Timestamp, answer
from service.web.middleware import Handler
from service.web.pages import next_of, read_after
from service.web.query import PageQuery, query_of
from service.web.resumable import ietf, tus
from service.web.resumable.fields import APPENDS, CREATES, STATE, TOLD_OPTIONS, TUS
from service.web.resumable.place import PlaceQuery, authorize_upload, place_of
from service.web.state import ABILITIES, PRINCIPAL, TARGET, runtime_of
from service.web.urls import absolute_url
from service.web.version_answer import VersionAnswer

LISTING = "uploads"
OVERRIDE = "X-HTTP-Method-Override"
TAKEN_FOR = web.RequestKey("taken_for", str)
_MEDIA = (TUS_MEDIA, IETF_MEDIA)
PROBLEMS = (
    BucketDeleting,
    BucketNotFound,
    ChecksumMismatch,
    DigestMismatch,
    IdempotencyMismatch,
    InconsistentLength,
    InvalidBucketName,
    InvalidKey,
    OffsetMismatch,
    PreconditionFailed,
    TusVersionMismatch,
    UnsupportedMedia,
    UploadComplete,
    UploadGone,
    UploadNotFound,
    UploadTakenOver,
)


class UploadAnswer(Answer):
    """kind: `whole`, or `partial` for one that is to be joined with others. offset: bytes that are
    safe. length_bytes: null while unknown."""

    id: str
    url: str
    kind: UploadKind
    bucket: str
    key: str
    offset: int
    length_bytes: int | None
    created_at: Timestamp
    expires_at: Timestamp | None


class UploadPage(Answer):
    items: tuple[UploadAnswer, ...]
    next: str | None


@describe(
    "Create a resumable upload (tus, or `Upload-Complete`).",
    query=PlaceQuery,
    headers=(*TUS, *CREATES),
    body=Raw(optional=True),
    answers={
        201: Reply(VersionAnswer, LOCATION, *STATE, says="The upload, or the version it became."),
        200: Reply(VersionAnswer, LOCATION, *STATE, says="The version: a name that was there."),
    },
    problems=PROBLEMS,
)
async def post_upload(request: web.Request) -> web.Response:
    if tus.is_tus(request) or not ietf.is_resumable(request):
        return await tus.create(request)
    query = query_of(request, PlaceQuery)
    return await ietf.create(request, place_of(request, query.bucket, query.key))


@describe(
    "Your unfinished uploads, by pages.",
    query=PageQuery,
    answers={200: Reply(UploadPage, LINK)},
    problems=(InvalidCursor,),
)
async def get_uploads(request: web.Request) -> web.Response:
    """Those that were created with the same API key, the oldest first."""
    query = query_of(request, PageQuery)
    found, last = await list_uploads(
        runtime_of(request),
        request[PRINCIPAL],
        after=read_after(query.cursor, LISTING),
        limit=query.limit,
    )
    cursor, headers = next_of(request, LISTING, last)
    items = tuple(_shown(request, upload) for upload in found)
    return answer(UploadPage(items=items, next=cursor), headers=headers)


def _shown(request: web.Request, upload: Upload) -> UploadAnswer:
    terms, progress = upload.intent.resumable, upload.progress
    assert terms is not None
    size = upload.completion.size_bytes if upload.completion else None
    return UploadAnswer(
        id=upload.ref.id,
        url=absolute_url(request, upload_path(upload.ref.id)),
        kind=terms.kind,
        bucket=terms.bucket,
        key=upload.intent.key,
        offset=progress.offset if progress else size or 0,
        length_bytes=progress.length_bytes if progress else size,
        created_at=upload.created_at,
        expires_at=upload.lease_until,
    )


@describe(
    "How far an upload is.",
    headers=TUS,
    answers={
        200: Reply(UploadAnswer, *STATE),
        204: Reply(None, *STATE, says="To a HEAD without `Tus-Resumable`."),
    },
    problems=PROBLEMS,
)
async def get_upload(request: web.Request) -> web.StreamResponse:
    """The offset that a HEAD tells is final: a request that still appends is ended first. A GET
    leaves it alone."""
    if (other := _overridden(request)) is not None:
        return await other(request)
    found = await _found(request)
    if request.method == hdrs.METH_GET and TAKEN_FOR not in request:
        return answer(_shown(request, found), headers=ietf.state(request, found))
    head = tus.head if tus.is_tus(request) else ietf.head
    return await head(request, found)


@describe(
    "Append to an upload.",
    headers=(*TUS, *APPENDS),
    body=Raw(_MEDIA, optional=True),
    answers={
        204: Reply(None, *STATE),
        200: Reply(VersionAnswer, *STATE, says="The version it became, by `Upload-Complete: ?1`."),
        201: Reply(VersionAnswer, *STATE, says="The version it became, under a new name."),
    },
    problems=PROBLEMS,
)
async def patch_upload(request: web.Request) -> web.StreamResponse:
    if (other := _overridden(request)) is not None:
        return await other(request)
    if tus.is_tus(request):
        return await tus.patch(request, await _found(request))
    if not ietf.is_resumable(request):
        tus.check_version(request)
    return await ietf.patch(request, await _found(request))


@describe(
    "End an upload: nothing of it is left.", headers=TUS, answers={204: Reply()}, problems=PROBLEMS
)
async def delete_upload(request: web.Request) -> web.StreamResponse:
    """An upload that is complete has become a version, which stays."""
    if (other := _overridden(request)) is not None:
        return await other(request)
    found = await _found(request)
    await end_upload(runtime_of(request), found.intent.tenant, found.ref.id)
    return web.Response(status=204)


@describe(
    "Another method, for clients that cannot send it: `X-HTTP-Method-Override`.",
    headers=(*TUS, *APPENDS),
    body=Raw(_MEDIA, optional=True),
    answers={
        200: Reply(VersionAnswer, *STATE, says="What that method answers."),
        201: Reply(VersionAnswer, *STATE, says="What that method answers."),
        204: Reply(None, *STATE),
    },
    problems=PROBLEMS,
)
async def post_to_upload(request: web.Request) -> web.StreamResponse:
    other = _overridden(request)
    if other is None:
        raise Invalid(f"a POST to an upload says what it is meant for by {OVERRIDE}")
    return await other(request)


async def _options(request: web.Request) -> web.Response:
    settings = runtime_of(request).settings
    most = settings.limits.max_object_bytes
    limit = format_limit(max_size=most, max_age=round(settings.uploads.ttl_s))
    told = tus.told_options(request.config_dict[ABILITIES], most)
    return web.Response(status=204, headers=told | {UPLOAD_LIMIT: limit})


async def options_uploads(request: web.Request) -> web.Response:
    return await _options(request)


async def options_upload(request: web.Request) -> web.Response:
    return await _options(request)


async def options_object(request: web.Request) -> web.Response:
    return await _options(request)


OPTIONS = describe(
    "What the service can do for uploads.", query=None, answers={204: Reply(None, *TOLD_OPTIONS)}
)


async def _found(request: web.Request) -> Upload:
    """Raises TusVersionMismatch, UploadNotFound, UploadGone, Forbidden."""
    if tus.is_tus(request):
        tus.check_version(request)
    id = UploadId(request[TARGET].id)
    found = await find_upload(runtime_of(request), request[PRINCIPAL].tenant, id)
    authorize_upload(request, found)
    return found


def _overridden(request: web.Request) -> Handler | None:
    """The handler of the method that the request wants to be taken for."""
    name = request.headers.get(OVERRIDE, "").strip().upper()
    if not name or name == request.get(TAKEN_FOR, request.method):
        return None
    if name not in _BY_METHOD:
        raise Invalid(f"{OVERRIDE} is one of {', '.join(_BY_METHOD)}", field=OVERRIDE)
    request[TAKEN_FOR] = name
    return _BY_METHOD[name]


_BY_METHOD: Mapping[str, Handler] = {
    "HEAD": get_upload,
    "PATCH": patch_upload,
    "DELETE": delete_upload,
}
