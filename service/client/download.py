"""GET: one version, byte for byte, although connections break.

A break is followed by a request for the rest under `If-Match`, so that what arrives is always of
one version: an object that was changed meanwhile raises PreconditionFailed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientResponse
from multidict import CIMultiDictProxy

from service.client.checksum import NAME, Crc64
from service.client.connection import Connection, object_path
from service.client.problems import UnexpectedAnswer, Unreachable
from service.errors import Invalid
from service.protocol.digests import parse_digests

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_ASKED = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """version: None for the latest."""

    bucket: str
    key: str
    version: str | None = None

    def __str__(self) -> str:
        return f"mg://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """told: what the service says of the version; response: whose body has its bytes."""

    told: CIMultiDictProxy[str]
    response: ClientResponse


class Download:
    """Bytes [start, end) of a version of `size_bytes`; iterate it once, inside its context.

    etag: quoted. digests: raw bytes of the whole version, by the names of Repr-Digest. A whole
    download is held against its CRC64NVME at the end: DigestMismatch.
    """

    def __init__(self, connection: Connection, target: Target, answer: _Answer) -> None:
        response = answer.response
        self.target = target
        self.start, self.end, self.size_bytes = _extent(response)
        self.etag = answer.told.get("ETag", "")
        self.content_type = response.content_type
        self.digests = _digests(answer.told)
        self._connection = connection
        self._response: ClientResponse | None = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        whole = (self.start, self.end) == (0, self.size_bytes)
        crc = Crc64()
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                if whole:
                    crc.update(chunk)
                yield chunk
        if whole:
            crc.check(self.digests.get(NAME), str(self.target))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The same without the check, for whoever has the beginning already."""
        position = self.start
        patience = self._connection.patience()
        while position < self.end:
            try:
                async with self._answer(position) as response:
                    while chunk := await self._read(response):
                        position += len(chunk)
                        patience.progress()
                        yield chunk
                if position < self.end:
                    raise Unreachable("the body ended early", connected=True)
            except patience.errors as error:
                await patience.wait(error)
        if position > self.end:
            raise UnexpectedAnswer("more bytes came than were announced")

    @asynccontextmanager
    async def _answer(self, position: int) -> AsyncIterator[ClientResponse]:
        """The response that is there already, else one for the rest."""
        if self._response is not None:
            response, self._response = self._response, None
            yield response
            return
        if not self.etag:
            raise UnexpectedAnswer("the answer has no entity tag, so nobody can go on with it")
        rest = {"Range": f"bytes={position}-{self.end - 1}", "If-Match": self.etag}
        async with _get(self._connection, self.target, rest) as answer:
            response = answer.response
            if _extent(response) != (position, self.end, self.size_bytes):
                raise UnexpectedAnswer("the answer has another range than was asked for")
            yield response

    async def _read(self, response: ClientResponse) -> bytes:
        with self._connection.translated():
            return await response.content.readany()


@asynccontextmanager
async def open_download(
    connection: Connection, target: Target, headers: Mapping[str, str]
) -> AsyncIterator[Download]:
    """Send the request, again while the service is out of reach."""
    patience = connection.patience()
    async with AsyncExitStack() as stack:
        while True:
            try:
                request = _get(connection, target, headers)
                answer = await stack.enter_async_context(request)
                break
            except patience.errors as error:
                await patience.wait(error)
        download = Download(connection, target, answer)
        _check_range(headers, download)
        yield download


def _check_range(headers: Mapping[str, str], download: Download) -> None:
    """Whoever answers a redirect may know nothing of ranges. Raises UnexpectedAnswer.

    With If-Range the whole is an answer too, which the caller tells by its start.
    """
    asked = _ASKED.fullmatch(headers.get("Range", "bytes=0-"))
    if asked is None or "If-Range" in headers:
        return
    end = min(int(asked[2]) + 1, download.size_bytes) if asked[2] else download.size_bytes
    if (download.start, download.end) != (int(asked[1]), end):
        raise UnexpectedAnswer("the answer has another range than was asked for")


def range_headers(start: int, end: int | None) -> dict[str, str]:
    """The field for bytes [start, end), none for the whole. Raises Invalid."""
    if start < 0 or (end is not None and end <= start):
        raise Invalid("a range has a start, and an end behind it")
    if start == 0 and end is None:
        return {}
    return {"Range": f"bytes={start}-{'' if end is None else end - 1}"}


@asynccontextmanager
async def _get(
    connection: Connection, target: Target, headers: Mapping[str, str]
) -> AsyncIterator[_Answer]:
    """Where the bucket redirects, the store's answer behind it. The service redirects nothing under
    a condition, so the store is sent none."""
    async with connection.request(
        "GET",
        object_path(target.bucket, target.key),
        query={"version": target.version} if target.version else None,
        headers=headers,
        redirects=True,
        timeout=connection.transfer_timeout,
    ) as first:
        if first.status != 307:
            yield _Answer(first.headers, first)
            return
        ranges = {name: value for name, value in headers.items() if name == "Range"}
        async with connection.follow(first, ranges) as response:
            yield _Answer(first.headers, response)


def _extent(response: ClientResponse) -> tuple[int, int, int]:
    """start, end and the size of the whole. Raises UnexpectedAnswer."""
    if response.status == 200 and response.content_length is not None:
        return 0, response.content_length, response.content_length
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or match is None:
        raise UnexpectedAnswer("the answer does not tell its length")
    return int(match[1]), int(match[2]) + 1, int(match[3])


def _digests(told: CIMultiDictProxy[str]) -> Mapping[str, bytes]:
    try:
        return parse_digests(", ".join(told.getall("Repr-Digest", ())))
    except Invalid as error:
        raise UnexpectedAnswer("the answer has a malformed Repr-Digest") from error
