"""Storing what can be read again, and streams, which cannot.

What is large and can be read again goes on where its connection broke (`resumable_upload`); what is
small is one PUT, sent again under one Idempotency-Key until it is stored. What was stored although
its answer was lost is not stored twice: the service gives the first answer again. A stream is sent
once, so a break of its connection is an error.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from service.client.answers import ObjectInfo
from service.client.checksum import NAME, Crc64
from service.client.connection import Connection, object_path, parse
from service.client.io_thread import BlockingThread
from service.client.patience import AGAIN, Headway, Progress
from service.client.resumable_upload import NotResumable, put_resumably
from service.client.sources import Replayable
from service.client.upload_body import WAIT_FOR_100_BYTES, UploadBody, guarded
from service.client.upload_job import UploadJob
from service.client.upload_journal import UploadJournal
from service.errors import Invalid
from service.model.ids import new_id
from service.protocol.content_disposition import format_disposition
from service.protocol.user_metadata import format_tags, format_user_metadata

RESUMABLE_BYTES = 64 << 20
"""From this size on, an upload goes on where it broke off unless told otherwise."""


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


async def put_source(
    connection: Connection,
    bucket: str,
    key: str,
    source: Replayable,
    options: PutOptions,
    progress: Progress,
    *,
    resumable: bool | None,
    journal: UploadJournal | None,
) -> ObjectInfo:
    """What can be read again. resumable: None for `RESUMABLE_BYTES` and more.

    Raises what `put_stream` raises, later; Conflict where the source changes meanwhile.
    """
    object_path(bucket, key)  # raises what is wrong with the names
    async with BlockingThread() as thread:
        state = await thread.run(source.state)
        guessed, _ = await thread.run(mimetypes.guess_type, source.name or "")
        headers = _headers(options, guessed, source.name)
        job = UploadJob(connection, thread, source, state, bucket, key, headers, progress)
        wanted = state.size_bytes >= RESUMABLE_BYTES if resumable is None else resumable
        if not wanted:
            return await _put_again(job)
        try:
            return await put_resumably(job, journal)
        except NotResumable:
            if resumable:
                raise
            return await _put_again(job)


async def _put_again(job: UploadJob) -> ObjectInfo:
    connection, size_bytes = job.connection, job.state.size_bytes
    patience = connection.patience()
    headway = Headway(patience, job.progress)
    path = object_path(job.bucket, job.key)
    headers = {**job.headers, "Idempotency-Key": new_id(), "Content-Length": str(size_bytes)}
    while True:
        try:
            async with job.body(headway) as body:
                info = await _send(connection, path, headers, body)
        except AGAIN as error:
            await job.check_unchanged(error)
            await patience.wait(error)
        else:
            break
    if not body.complete:
        # The first answer told again: that attempt sent all, this one nothing.
        crc = Crc64()
        await job.sum_up(crc, 0, size_bytes)
        crc.check(info.digest(NAME), str(job))
    await job.check_stored()
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
    wait = body.size_bytes is None or body.size_bytes >= WAIT_FOR_100_BYTES
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
