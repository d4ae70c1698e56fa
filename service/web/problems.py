"""Errors on the wire: one table from class to status, one form (RFC 9457) for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from service import errors
from service.errors import MediagateError
from service.protocol.problem import CONTENT_TYPE, problem_body
from service.protocol.resumable_uploads import UPLOAD_COMPLETE
from service.protocol.tus import VERSION, ChecksumMismatch, TusVersionMismatch

STATUSES: Mapping[type[MediagateError], int] = {
    ChecksumMismatch: 460,
    TusVersionMismatch: 412,
    errors.Invalid: 400,
    errors.IncompleteBody: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.SlowClient: 408,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.RangeNotSatisfiable: 416,
    errors.IdempotencyMismatch: 422,
    errors.RateLimited: 429,
    errors.StoreUnavailable: 503,
    errors.StoreFull: 507,
}
"""The nearest class of the error's MRO decides; what stands in no row is a 500."""

_FRAMEWORK: Mapping[int, type[MediagateError]] = {
    400: errors.Invalid,
    404: errors.NotFound,
    413: errors.TooLarge,
    415: errors.UnsupportedMedia,
}
"""What aiohttp raises itself, in our words."""

_RETRY_AFTER_S = 1
_GENERIC_DETAIL = "the service failed; the request id leads to the reason in its logs"


@dataclass(frozen=True, slots=True)
class Problem:
    status: int
    code: str
    title: str
    detail: str
    extras: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: BaseException) -> Problem:
    """What may be told about an error; of an unexpected one nothing but that it happened."""
    if isinstance(error, web.HTTPException):
        return _of_framework(error)
    if isinstance(error, web.RequestPayloadError):
        error = errors.IncompleteBody("the request body broke off or is broken")
    status = status_of(type(error))
    if status == 500 or not isinstance(error, MediagateError):
        return Problem(500, MediagateError.code, MediagateError.title, _GENERIC_DETAIL)
    return Problem(
        status, error.code, error.title, error.detail, error.extras, _headers(error, status)
    )


def status_of(kind: type[BaseException]) -> int:
    return next((STATUSES[base] for base in kind.__mro__ if base in STATUSES), 500)


def problem_response(problem: Problem, request_id: str) -> web.Response:
    return web.Response(
        status=problem.status,
        body=problem_body(
            status=problem.status,
            code=problem.code,
            title=problem.title,
            detail=problem.detail,
            request_id=request_id,
            extras=problem.extras,
        ),
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _headers(error: MediagateError, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if status in (429, 503) or isinstance(error, errors.RequestInProgress):
        headers["Retry-After"] = str(error.extras.get("retry_after_s", _RETRY_AFTER_S))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mediagate"'
    if status == 408:
        headers["Connection"] = "close"
    if status == 416 and "size_bytes" in error.extras:
        headers["Content-Range"] = f"bytes */{error.extras['size_bytes']}"
    if isinstance(error, errors.OffsetMismatch | errors.UploadComplete) and error.extras:
        headers |= {"Upload-Offset": str(error.extras["offset"]), UPLOAD_COMPLETE: "?0"}
    if isinstance(error, TusVersionMismatch):
        headers["Tus-Version"] = VERSION
    if "delete_marker" in error.extras:
        headers["X-Delete-Marker"] = "true"
    return headers


def _of_framework(error: web.HTTPException) -> Problem:
    phrase = HTTPStatus(error.status).phrase
    kind = _FRAMEWORK.get(error.status)
    code = kind.code if kind else phrase.lower().replace(" ", "_").replace("-", "_")
    title = kind.title if kind else phrase
    allow = error.headers.get("Allow")
    return Problem(error.status, code, title, title, headers={"Allow": allow} if allow else {})
