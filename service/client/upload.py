"""PUT: a file, sent again under one Idempotency-Key until it is stored; or a stream, sent once.

So are bytes, and whatever else can be read again. What was stored although its answer was lost is
not stored twice: the service gives the first answer again. A stream cannot be read again, so a
break of its connection is an error.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from service.client.answers import ObjectInfo
from service.client.checksum import NAME, Crc64
from service.client.connection import Connection, object_path, parse
from service.client.io_thread import BlockingThread
from service.client.patience import Patience, Progress
from service.client.sources import Replayable
from service.client.upload_body import UploadBody, guarded
from service.errors import (
    Conflict,
    IncompleteBody,
    Invalid,
    MediagateError,
    RequestInProgress,
    SlowClient,
)
from service.model.ids import new_id
from service.protocol.content_disposition import format_disposition
from service.protocol.user_metadata import format_tags, format_user_metadata

_WAIT_FOR_100_BYTES = 256 << 10
"""From this size on, a refusal spares the upload."""
AGAIN: tuple[type[MediagateError], ...] = (
    *Patience.errors,
    RequestInProgress,
    SlowClient,
    IncompleteBody,
)


@dataclass(frozen=True, slots=True)
class PutOptions:
    """content_type: guessed from the file's name where it is None.

    create_only: an object that is there already stays, and PreconditionFailed is raised. if_match:
    quoted entity tag of the version that may be replaced, else PreconditionFailed.
    """

    content_type: str | None = None
    filename: str | None = None
    cache_control: str | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    create_only: bool = False
    if_match: str | None = None

    def conditions(self) -> dict[str, str]:
        return conditions(create_only=self.create_only, if_match=self.if_match)


def conditions(*, create_only: bool = False, if_match: str | None = None) -> dict[str, str]:
    """The header fields that say what may be replaced."""
    headers = {"If-None-Match": "*"} if create_only else {}
    return headers | ({"If-Match": if_match} if if_match else {})


async def put_again(
    connection: Connection,
    bucket: str,
    key: str,
    source: Replayable,
    options: PutOptions,
    progress: Progress,
) -> ObjectInfo:
    """Raises what `put_stream` raises, later; Conflict where the source changes meanwhile."""
    path = object_path(bucket, key)
    patience = connection.patience()
    furthest = 0

    def noted(done_bytes: int, size_bytes: int | None) -> None:
        # Sending the same bytes once more is no progress.
        nonlocal furthest
        if done_bytes > furthest:
            furthest = done_bytes
            patience.progress()
        progress(done_bytes, size_bytes)

    async with BlockingThread() as thread:
        before = await thread.run(source.state)
        guessed, _ = await thread.run(mimetypes.guess_type, source.name or "")
        headers = _headers(options, guessed, source.name)
        headers |= {"Idempotency-Key": new_id(), "Content-Length": str(before.size_bytes)}
        while True:
            chunks = source.chunks(thread, before.size_bytes)
            body = UploadBody(chunks, before.size_bytes, noted)
            try:
                info = await _send(connection, path, headers, body)
            except AGAIN as error:
                if await thread.run(source.state) != before:
                    raise Conflict(f"{source} was changed while it was sent") from error
                await patience.wait(error)
            else:
                break
        if not body.complete:
            # The first answer told again: that attempt sent all, this one nothing.
            crc = Crc64()
            async for chunk in source.chunks(thread, before.size_bytes):
                crc.update(chunk)
            crc.check(info.digest(NAME), f"mg://{bucket}/{key}")
        if await thread.run(source.state) != before:
            raise Conflict(f"{source} was changed while it was sent: what is stored may be mixed")
    return info


async def put_stream(
    connection: Connection,
    bucket: str,
    key: str,
    source: AsyncIterator[bytes],
    options: PutOptions,
    progress: Progress,
) -> ObjectInfo:
    """Send chunks of unknown length, once. Nothing is read before the service wants it."""
    path = object_path(bucket, key)
    headers = _headers(options, None, None)
    patience = connection.patience()
    while True:
        body = UploadBody(source, None, progress)
        try:
            return await _send(connection, path, headers, body)
        except patience.errors as error:
            if body.started:
                raise
            await patience.wait(error)


async def _send(
    connection: Connection, path: str, headers: Mapping[str, str], body: UploadBody
) -> ObjectInfo:
    wait = body.size_bytes is None or body.size_bytes >= _WAIT_FOR_100_BYTES
    answer = await guarded(connection, body, "PUT", path, headers=headers, expect100=wait)
    info = parse(answer, ObjectInfo)
    if body.complete:
        body.check(info)
    return info


def _headers(options: PutOptions, guessed: str | None, name: str | None) -> dict[str, str]:
    headers = format_user_metadata(options.user_metadata)
    headers["Content-Type"] = options.content_type or guessed or "application/octet-stream"
    filename = options.filename or name
    if filename:
        headers["Content-Disposition"] = format_disposition("attachment", filename)
    if options.cache_control:
        headers["Cache-Control"] = options.cache_control
    tags = format_tags(options.tags)
    if tags:
        headers["X-Tags"] = tags
    headers |= options.conditions()
    if any("\r" in value or "\n" in value for value in headers.values()):
        raise Invalid("a header value has no line ends")
    return headers
