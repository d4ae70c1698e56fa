"""What went wrong, as an error of the service's own tree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError, ClientPayloadError, ClientResponse

from service import errors
from service.errors import MediagateError


class Unreachable(MediagateError):
    """The service did not answer, or the connection broke: nothing is known of the outcome.

    extras: connected, whether there was a connection at all.
    """

    code = "unreachable"
    title = "The service does not answer"


class UnexpectedAnswer(MediagateError):
    code = "unexpected_answer"
    title = "That is no answer of a Mediagate service"


_MAX_PROBLEM_BYTES = 64 << 10
_STANDARD = frozenset(("type", "title", "status", "code", "detail", "instance"))
_BY_STATUS: Mapping[int, type[MediagateError]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    408: errors.SlowClient,
    409: errors.Conflict,
    410: errors.Gone,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    415: errors.UnsupportedMedia,
    416: errors.RangeNotSatisfiable,
    429: errors.RateLimited,
    502: errors.StoreUnavailable,
    503: errors.StoreUnavailable,
    504: errors.StoreTimeout,
    507: errors.StoreFull,
}
"""For answers without a code that is known here: those of proxies, and of later releases."""


def _tree(kind: type[MediagateError]) -> Iterator[type[MediagateError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


_BY_CODE = {kind.code: kind for kind in reversed(list(_tree(MediagateError)))}


async def error_of(response: ClientResponse) -> MediagateError:
    """The error that a response of status >= 300 tells. extras: status, request_id and its own."""
    problem = _parsed(await response.content.read(_MAX_PROBLEM_BYTES))
    extras: dict[str, Any] = {
        name: value for name, value in problem.items() if name not in _STANDARD
    }
    extras["status"] = response.status
    retry_after = response.headers.get("Retry-After", "")
    if retry_after.isascii() and retry_after.isdigit():
        extras["retry_after_s"] = int(retry_after)
    kind = _BY_CODE.get(str(problem.get("code"))) or _BY_STATUS.get(response.status)
    if kind is None:
        kind = MediagateError if "code" in problem else UnexpectedAnswer
    detail = problem.get("detail")
    return kind(detail if isinstance(detail, str) else _phrase(response), **extras)


def _parsed(body: bytes) -> dict[str, Any]:
    """Empty where the body is no problem: a proxy's page, or cut off."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _phrase(response: ClientResponse) -> str:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "an unknown status"
    return f"the answer is {response.status} ({phrase})"


def unreachable(error: Exception, url: str, *, connected: bool) -> Unreachable:
    """error: of aiohttp, or a TimeoutError."""
    if isinstance(error, TimeoutError):
        reason = "it took too long"
    elif isinstance(error, ClientPayloadError):
        reason = "the body ended too early"
    elif isinstance(error, ClientError) and isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = str(error) or type(error).__name__
    what = "the connection broke" if connected else "no connection"
    return Unreachable(f"{what}: {url}: {reason}", connected=connected)
