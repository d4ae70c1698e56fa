"""PUT: a file, sent again under one Idempotency-Key until it is stored; or a stream, sent once.

A file that was stored although its answer was lost is not stored twice: the service gives the first
answer again. A stream cannot be read again, so a break of its connection is an error.
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from service.client.answers import ObjectInfo
from service.client.io_thread import BlockingThread
from service.client.checksum import NAME, crc_of_file
from service.client.connection import Connection, object_path, parse
from service.client.patience import Patience, Progress
from service.client.upload_body import UploadBody, file_chunks
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
_AGAIN: tuple[type[MediagateError], ...] = (
    *Patience.errors,
    RequestInProgress,
    SlowClient,
    IncompleteBody,
)


@dataclass(frozen=True, slots=True)
class PutOptions:
    """content_type: guessed from the file's name where it is None.

    create_only: an object that is there already stays, and PreconditionFailed is raised.
    """

    content_type: str | None = None
    filename: str | None = None
    cache_control: str | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    create_only: bool = False


async def put_file(
    connection: Connection,
    bucket: str,
    key: str,
    source: Path,
    options: PutOptions,
    progress: Progress,
) -> ObjectInfo:
    """Raises what `put_stream` raises, later; Conflict where the file changes meanwhile."""
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
        before = await thread.run(_state, source)
        guessed, _ = await thread.run(mimetypes.guess_type, source.name)
        headers = _headers(options, guessed, source.name)
        headers |= {"Idempotency-Key": new_id(), "Content-Length": str(before.size_bytes)}
        while True:
            body = UploadBody(file_chunks(source, before.size_bytes), before.size_bytes, noted)
            try:
                info = await _send(connection, path, headers, body)
            except _AGAIN as error:
                if await thread.run(_state, source) != before:
                    raise Conflict(f"{source} was changed while it was sent") from error
                await patience.wait(error)
            else:
                break
        if not body.complete:
            # The first answer told again: that attempt sent all, this one nothing.
            crc = await thread.run(crc_of_file, source)
            crc.check(info.digest(NAME), f"mg://{bucket}/{key}")
        if await thread.run(_state, source) != before:
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
    """The idle time runs while the service takes nothing, not while the source gives nothing."""
    wait = body.size_bytes is None or body.size_bytes >= _WAIT_FOR_100_BYTES
    try:
        with connection.translated():
            async with asyncio.timeout(None) as idle:
                body.guard(idle, connection.timeouts.idle_s)
                async with connection.request(
                    "PUT", path, headers=headers, data=body, expect100=wait
                ) as response:
                    info = parse(await response.content.read(), ObjectInfo)
    except MediagateError as error:
        if body.error is None:
            raise
        # What the source raised reaches us as a broken connection.
        raise body.error from error
    if body.complete:
        body.check(info)
    return info


class _FileState(NamedTuple):
    size_bytes: int
    modified_ns: int
    inode: int


def _state(source: Path) -> _FileState:
    found = source.stat()
    return _FileState(found.st_size, found.st_mtime_ns, found.st_ino)


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
    if options.create_only:
        headers["If-None-Match"] = "*"
    if any("\r" in value or "\n" in value for value in headers.values()):
        raise Invalid("a header value has no line ends")
    return headers
