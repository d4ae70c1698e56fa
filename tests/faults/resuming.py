"""Clients of resumable uploads: what they send, what they were told, and how they come back.

I8: an offset that was told never goes back while the upload is there; where it is not, it is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from service.errors import (
    BucketNotFound,
    Conflict,
    Gone,
    MediagateError,
    OffsetMismatch,
    PreconditionFailed,
    UploadComplete,
    UploadTakenOver,
)
from service.model.ids import DEFAULT_TENANT, UploadId
from service.model.resumable import ResumableTerms
from service.model.upload import Upload, UploadState
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.append_to_upload import append_to_upload
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.find import find_upload, settled_upload
from tests.faults.history import Operation, Outcome

if TYPE_CHECKING:
    from tests.faults.process import Process
    from tests.faults.world import World

_TRIES = 20
_ONLY_NOW = (OffsetMismatch, UploadComplete, UploadTakenOver)
"""Conflicts that say nothing of what will become of the upload."""
_NEVER = (BucketNotFound, Conflict, Gone, PreconditionFailed)


class Resuming:
    def __init__(self, world: World) -> None:
        self._world = world
        self._uploads: dict[Operation, UploadId] = {}
        self._offsets: dict[Operation, int] = {}

    def outcome_of(self, operation: Operation, error: MediagateError) -> Outcome:
        """What an error says of a request: one of an upload that can be resumed seldom says no."""
        if operation not in self._uploads:
            return Outcome.REFUSED
        never = isinstance(error, _NEVER) and not isinstance(error, _ONLY_NOW)
        return Outcome.REFUSED if never else Outcome.UNKNOWN

    async def create(self, process: Process, operation: Operation) -> None:
        request = CreateRequest(
            DEFAULT_TENANT,
            operation.key,
            ResumableTerms("who", "films"),
            length_bytes=len(operation.content),
        )
        upload = await create_upload(process.runtime, request)
        self._uploads[operation] = upload.ref.id
        self._offsets[operation] = 0

    async def send(self, process: Process, operation: Operation, pieces: Sequence[int]) -> None:
        """From where the client believes the upload to be; the last answer tells of its end."""
        id = self._uploads[operation]
        for size in pieces:
            offset = self._offsets[operation]
            data = operation.content[offset : offset + size]
            found = await find_upload(process.runtime, DEFAULT_TENANT, id)
            wanted = AppendRequest(offset, size_bytes=len(data))
            done = await append_to_upload(process.runtime, found, wanted, _chunks(data))
            self._world.expect(done.offset == offset + len(data), "an append lost bytes")
            self._offsets[operation] = done.offset
            if done.committed is not None:
                self._end(operation, done.committed)

    async def go_on(self, process: Process, operation: Operation, *, in_peace: bool) -> None:
        """Ask for the offset and send the rest, as often as a patient client would.

        in_peace: nobody else is at it, so it must come to an end.
        """
        id = self._uploads.get(operation)
        if id is None or operation.outcome is not Outcome.UNKNOWN:
            return
        told = operation.outcome
        for _ in range(_TRIES if in_peace else 2):
            try:
                found = await find_upload(process.runtime, DEFAULT_TENANT, id)
                found = await settled_upload(process.runtime, found)
                if found.state is UploadState.COMMITTED:
                    operation.outcome = Outcome.ACKNOWLEDGED
                    self._end(operation, found)
                    break
                assert found.progress is not None
                offset = found.progress.offset
                back = self._offsets[operation] - offset
                self._world.expect(back <= 0, f"I8: the offset of {operation} went back by {back}")
                self._offsets[operation] = offset
                await self.send(process, operation, [len(operation.content) - offset])
            except MediagateError as error:
                operation.error = type(error).__name__
                operation.outcome = self.outcome_of(operation, error)
                if operation.outcome is Outcome.REFUSED:
                    break
                self._world.pass_time(1)
            else:
                operation.outcome = Outcome.ACKNOWLEDGED
                break
        if operation.outcome is told and in_peace:
            self._world.expect(False, f"{operation} never comes to an end")
        operation.ended = self._world.step

    def _end(self, operation: Operation, committed: Upload) -> None:
        operation.version = committed.version()
        operation.created = not committed.replaced


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for position in range(0, len(content), 5):
        yield content[position : position + 5]
