"""GET of a blob: a presigned URL, fetched over the pool of the downloads.

What aiobotocore would do is done here: errors are read from their XML and told as its ClientError,
so that one table translates all, and what may pass is tried again as its "standard" retries do:
before the first byte only, after that the reader resumes by range. The deadline around is the
caller's.
"""

from __future__ import annotations

import asyncio
import random
import re
from http import HTTPStatus
from itertools import count

import aiohttp
from aiohttp import ClientResponse, ClientSession, hdrs
from botocore.exceptions import ClientError
from yarl import URL

from service.errors import BlobMissing, StoreUnavailable
from service.model.ids import BlobKey
from service.stores.s3.clients import ATTEMPTS
from service.stores.s3.signed_urls import SignedUrls

_TRANSIENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_NOT_SIGNED_WELL = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_MOST_ERROR_BYTES = 64 << 10
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_CODE = re.compile(rb"<Code>\s*([\w.-]{1,100})\s*</Code>")


class BlobReader:
    def __init__(self, session: ClientSession, urls: SignedUrls) -> None:
        self._session = session
        self._urls = urls

    async def open(self, key: BlobKey, start: int, end: int) -> ClientResponse:
        """The response whose body is bytes [start, end); it is to be closed.

        Raises BlobMissing, StoreUnavailable and what the driver raises.
        """
        signed_again = False
        for attempt in count(1):
            try:
                response = await self._get(await self._urls.get(key), start, end, attempt)
            except (aiohttp.ClientError, OSError):
                # A second signature may have been one attempt more.
                if attempt >= ATTEMPTS:
                    raise
            else:
                if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                    return _checked(response, start, end)
                error = await _refusal(response)
                if response.status in _NOT_SIGNED_WELL and not signed_again:
                    # It expired after all: a clock was set, or the machine slept.
                    self._urls.forget(key)
                    signed_again = True
                    continue
                if response.status not in _TRANSIENT or attempt >= ATTEMPTS:
                    raise error
            # botocore's: up to 1 s, then up to 2 s.
            await asyncio.sleep(random.random() * 2 ** (attempt - 1))  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    async def _get(self, url: URL, start: int, end: int, attempt: int) -> ClientResponse:
        headers: dict[str, str] = {hdrs.RANGE: f"bytes={start}-{end - 1}"}
        if attempt > 1:
            headers["amz-sdk-request"] = f"attempt={attempt}; max={ATTEMPTS}"
        return await self._session.get(url, headers=headers, allow_redirects=False)


def _checked(response: ClientResponse, start: int, end: int) -> ClientResponse:
    """A store may cut a range at the end of the blob, or ignore it; both must not pass unseen."""
    error = _deviation(response, start, end)
    if error is None:
        return response
    response.close()
    raise error


def _deviation(response: ClientResponse, start: int, end: int) -> Exception | None:
    """Only a store that tells the size of the blob proves that it is shorter than its version."""
    told = response.headers.get(hdrs.CONTENT_RANGE)
    if told is None:
        whole = (0, response.content_length) == (start, end)
        return None if whole else StoreUnavailable("the S3 store ignored the range")
    match = _CONTENT_RANGE.fullmatch(told)
    if match and match[3] != "*" and int(match[3]) < end:
        return BlobMissing("the blob is shorter than its version")
    if response.content_length is None:
        return StoreUnavailable("the S3 store does not tell the length of its answer")
    served = (int(match[1]), int(match[2]) + 1) if match else None
    if served != (start, end) or response.content_length != end - start:
        return StoreUnavailable("the S3 store answered another range than asked for")
    return None


async def _refusal(response: ClientResponse) -> ClientError:
    """What aiobotocore would have raised."""
    try:
        body = b""
        while len(body) < _MOST_ERROR_BYTES and (piece := await response.content.readany()):
            body += piece
    finally:
        response.close()
    found = _CODE.search(body)
    code = found[1].decode() if found else str(response.status)
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": response.status}},
        "GetObject",
    )
