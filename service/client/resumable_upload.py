"""An upload that goes on where its connection broke, also in another process.

    POST /v1/uploads               creates it, under an Idempotency-Key, with all that is said of
                                   the object: what would be refused is refused before any byte
    PATCH, Upload-Complete: ?1     all that is still to be sent; its answer is that of a PUT
    HEAD                           after a break: where to go on
    PATCH of nothing               where all is there: the answer that was lost, told again

That is the IETF's Resumable Uploads for HTTP (protocol/resumable_uploads.py). A service that has
lost the upload is sent all of it again. The sum of all bytes is held against the digest of what was
stored, so bytes that an earlier process sent are read once more.

An upload that is given up is ended, so that nothing of it is left, unless a journal remembers it
and it may come back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.client.answers import ObjectInfo
from service.client.checksum import NAME, SteppedCrc
from service.client.connection import Connection, parse
from service.client.patience import AGAIN, Headway
from service.client.problems import UnexpectedAnswer
from service.client.sources import FileSource
from service.client.upload_body import WAIT_FOR_100_BYTES, guarded
from service.client.upload_job import UploadJob
from service.client.upload_journal import Entry, Planned, UploadJournal
from service.errors import (
    BucketNotFound,
    Forbidden,
    Gone,
    Invalid,
    MediagateError,
    NotFound,
    OffsetMismatch,
    StoreFull,
    Unauthenticated,
    UploadComplete,
    UploadGone,
    UploadNotFound,
    UploadTakenOver,
)
from service.model.ids import new_id
from service.protocol.resumable_uploads import (
    MEDIA_TYPE,
    UPLOAD_COMPLETE,
    format_complete,
    read_integer,
)
from service.protocol.tus import UPLOADS, upload_id_in, upload_path

_LENGTH, _OFFSET = "Upload-Length", "Upload-Offset"
_LOOK_AGAIN = (*AGAIN, OffsetMismatch, UploadComplete, UploadTakenOver)
_ELSEWHERE = (Unauthenticated, Forbidden, StoreFull)
"""What somebody may put right while the upload waits."""
_TIMES_ANEW = 3
_END_S = 3.0


class NotResumable(MediagateError):
    code = "not_resumable"
    title = "The service has no resumable uploads"


async def put_resumably(job: UploadJob, journal: UploadJournal | None) -> ObjectInfo:
    """Raises NotResumable, what a PUT may raise, and Conflict where another process is at it."""
    entry = await _entry(job, journal)
    try:
        return await ResumableUpload(job, entry).run()
    finally:
        if entry is not None:
            # Not for long, should the thread be held up by a file.
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await job.thread.run(entry.close)


async def _entry(job: UploadJob, journal: UploadJournal | None) -> Entry | None:
    """None where nothing can be remembered: the upload goes on only as long as this process."""
    if journal is None or not isinstance(job.source, FileSource):
        return None
    path = job.source.path

    def opened() -> Entry | None:
        planned = Planned.of(job.connection.base, path, job.state, job.bucket, job.key, job.headers)
        with suppress(OSError):
            return journal.open(planned)
        return None

    return await job.thread.run(opened)


class ResumableUpload:
    """`run` once."""

    def __init__(self, job: UploadJob, entry: Entry | None) -> None:
        self._job = job
        self._entry = entry
        self._size_bytes = job.state.size_bytes
        self._patience = job.connection.patience()
        self._headway = Headway(self._patience, job.progress)
        self._crc = SteppedCrc()
        self._upload: str | None = None
        self._safe_bytes = 0

    async def run(self) -> ObjectInfo:
        try:
            await self._recall()
            info = await self._to_the_end()
        except BaseException as error:
            await self._leave(error)
            raise
        await self._forget()
        await self._check(info)
        return info

    async def _to_the_end(self) -> ObjectInfo:
        anew, key = 0, new_id()
        while True:
            try:
                if self._upload is None:
                    return await self._append(await self._create(key), 0)
                return await self._append(self._upload, await self._look(self._upload))
            except (UploadGone, UploadNotFound):
                anew, key = anew + 1, new_id()
                if anew > _TIMES_ANEW:
                    raise
                await self._forget()
            except MediagateError as error:
                if not _is_passing(error):
                    raise
                await self._job.check_unchanged(error)
                await self._patience.wait(error)

    async def _recall(self) -> None:
        """What an earlier process began."""
        if self._entry is None:
            return
        if self._entry.stale is not None:
            await _end(self._job.connection, self._entry.stale)
            await self._forget()
        self._upload = self._entry.upload

    async def _create(self, key: str) -> str:
        headers = {
            **self._job.headers,
            "Idempotency-Key": key,
            UPLOAD_COMPLETE: format_complete(False),
            _LENGTH: str(self._size_bytes),
        }
        query = {"bucket": self._job.bucket, "key": self._job.key}
        try:
            reply = await self._job.connection.send("POST", UPLOADS, headers=headers, query=query)
        except MediagateError as error:
            if error.extras.get("status") in (404, 405) and not isinstance(error, BucketNotFound):
                raise NotResumable from error
            raise
        try:
            # Whatever host or path a proxy gave it: the key goes nowhere else.
            upload = upload_id_in(reply.headers.get("Location", ""))
        except Invalid as error:
            raise UnexpectedAnswer("the answer names no upload") from error
        self._upload, self._safe_bytes = upload, 0
        if self._entry is not None:
            with suppress(OSError):
                await self._job.thread.run(self._entry.keep, upload)
        return upload

    async def _look(self, upload: str) -> int:
        """How far it is. Raises UploadGone."""
        try:
            reply = await self._job.connection.send("HEAD", upload_path(upload))
        except (Gone, NotFound) as error:  # a HEAD has no body to tell more
            raise UploadGone(error.detail) from error
        offset = read_integer(reply.headers, _OFFSET)
        if offset is None or offset > self._size_bytes:
            raise UnexpectedAnswer(
                f"an upload of {self._size_bytes} bytes is told to be at {offset}"
            )
        if offset > self._safe_bytes:
            self._safe_bytes = offset
            self._patience.progress()
        return offset

    async def _append(self, upload: str, offset: int) -> ObjectInfo:
        await self._sum_up(offset)
        left_bytes = self._size_bytes - offset
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(left_bytes),
            _OFFSET: str(offset),
            UPLOAD_COMPLETE: format_complete(True),
        }
        async with self._job.body(self._headway, offset, self._crc) as body:
            answer = await guarded(
                self._job.connection,
                body,
                "PATCH",
                upload_path(upload),
                headers=headers,
                expect100=left_bytes >= WAIT_FOR_100_BYTES,
            )
        return parse(answer, ObjectInfo)

    async def _sum_up(self, until: int) -> None:
        """Bring the sum to that offset."""
        self._crc.go_back(until)
        await self._job.sum_up(self._crc, self._crc.size_bytes, until)

    async def _check(self, info: ObjectInfo) -> None:
        await self._sum_up(self._size_bytes)
        self._crc.check(info.digest(NAME), str(self._job))
        await self._job.check_stored()

    async def _leave(self, error: BaseException) -> None:
        """End what will not come back."""
        upload, entry = self._upload, self._entry
        if upload is None:
            return
        if entry is not None and entry.upload == upload and _may_come_back(error):
            return
        await self._forget()
        await _end(self._job.connection, upload)

    async def _forget(self) -> None:
        self._upload = None
        if self._entry is not None:
            with suppress(OSError):
                await self._job.thread.run(self._entry.forget)


async def _end(connection: Connection, upload: str) -> None:
    """If that can be done at once; else the service does it in its time."""
    with suppress(MediagateError, TimeoutError):
        async with asyncio.timeout(_END_S):
            await connection.send("DELETE", upload_path(upload))


def _is_passing(error: MediagateError) -> bool:
    """Whether it is worth asking how far the upload is, and going on."""
    if isinstance(error, _LOOK_AGAIN):
        return True
    status = error.extras.get("status")
    return isinstance(status, int) and status >= 500 and not isinstance(error, StoreFull)


def _may_come_back(error: BaseException) -> bool:
    """So may what was stopped from outside, and what the file system refused."""
    if not isinstance(error, MediagateError):
        return True
    return _is_passing(error) or isinstance(error, _ELSEWHERE)
