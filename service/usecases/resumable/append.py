"""Appending to a resumable upload: one request's body, kept up to the last byte that came.

A body that ends in good order, breaks off, stalls or is overtaken by a newer request is kept as far
as it came: whole parts in the multipart, the rest as the tail. Only a body that was promised with a
digest counts as a whole or not at all. The work runs in a task of its own, so that it ends in order
when the client is gone; `stop` asks for that end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog

from service.errors import (
    BlobMissing,
    Fenced,
    IncompleteBody,
    InconsistentLength,
    MediagateError,
    MultipartGone,
    SlowClient,
    StoreUnavailable,
    UnsupportedMedia,
    UploadTakenOver,
)
from service.model.resumable import Piece, UploadKind
from service.settings import MAX_PARTS
from service.usecases.digests import BodyDigests
from service.usecases.part_stream import FilledPart, PartStream
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.beginning import look_at_beginning
from service.usecases.resumable.bodies import cut_body, hashed, preceded
from service.usecases.resumable.finish import FINISH_LEASE_S
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import lost, seal, set_aside
from service.usecases.resumable.sent_parts import SentParts, told
from service.usecases.undo import undo_quietly

_SPARE_NUMBERS = 64
_KEEPS = (IncompleteBody, SlowClient)
"""After these, what came of the body counts."""
log = structlog.get_logger()


class AppendToUpload:
    """One append; `run` once. max_bytes: how large the upload may become."""

    def __init__(
        self,
        held: HeldUpload,
        request: AppendRequest,
        body: AsyncIterator[bytes],
        *,
        max_bytes: int,
    ) -> None:
        self.held = held
        self._runtime = held.runtime
        self._request = request
        self._max_bytes = max_bytes
        promised = request.expected_digests
        self._digests = BodyDigests(promised, ()) if promised else None
        self._body = hashed(body, self._digests) if self._digests else body
        self._tail_bytes = 0
        self._seal_at = float("inf")
        self._reading: asyncio.Future[FilledPart] | None = None
        self._ended = asyncio.Event()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def ended(self) -> None:
        await self._ended.wait()

    async def run(self) -> None:
        """Afterwards `held.progress` tells how far it is, and whether it is closed.

        Raises IncompleteBody, SlowClient, TooLarge, DigestMismatch, UnsupportedMedia (the upload is
        undone then), InconsistentLength, UploadTakenOver, UploadGone, StoreUnavailable, StoreFull.
        """
        try:
            await self._append()
        except Fenced as error:
            raise UploadTakenOver("a newer request goes on with this upload") from error
        finally:
            self._ended.set()

    async def _append(self) -> None:
        try:
            await self._prepare()
            await self._receive()
        except Fenced:
            raise
        except UnsupportedMedia:
            undo = undo_quietly(self._runtime, self.held.upload.ref)
            self._runtime.tasks.spawn(undo, name="undo")
            raise
        except MultipartGone as error:
            raise await told(self.held, error) from error
        except BlobMissing as error:
            raise await lost(self.held) from error
        except MediagateError:
            await self._let_go()
            raise

    async def _prepare(self) -> None:
        """What earlier holders left, and what has become too old to go on with."""
        held = self.held
        if held.sealing:
            await seal(held)
        span = held.progress.span
        if span is None:
            return
        age = await self._runtime.metadata.now() - span.opened_at
        self._seal_at = asyncio.get_running_loop().time() + self._span_s - age.total_seconds()
        if not held.parts or self._is_used_up():
            await seal(held)

    @property
    def _span_s(self) -> float:
        """How long a multipart is in use."""
        return self._runtime.settings.s3.multipart_ttl_s / 2

    def _is_used_up(self) -> bool:
        """Whether the multipart in use is too old, or has too few numbers left."""
        if self.held.progress.span is None:
            return False
        few = self.held.numbers_used > MAX_PARTS - _SPARE_NUMBERS
        return few or asyncio.get_running_loop().time() >= self._seal_at

    async def _receive(self) -> None:
        held = self.held
        if held.progress.tail is not None:
            self._tail_bytes = held.progress.tail.size_bytes
            self._body = preceded(self._runtime, held.progress.tail, self._body)
        stream = self._stream()
        part: FilledPart | None = None
        failure: MediagateError | None = None
        async with SentParts(held, holds=self._digests is not None) as sent:
            try:
                while not stream.ended:
                    part = await self._next(stream)
                    if not stream.ended:
                        await self._send(sent, part)
            except _KEEPS as error:
                failure, part = error, self._salvaged(stream)
            except BaseException:
                if stream.salvaged is not None:
                    stream.salvaged.release()
                raise
            await self._end(sent, stream, part, failure)
        if failure is not None:
            raise failure

    def _stream(self) -> PartStream:
        size = self._request.size_bytes
        return cut_body(
            self.held,
            self._body,
            size_bytes=None if size is None else size + self._tail_bytes,
            max_bytes=self._most() - self._request.offset + self._tail_bytes,
        )

    def _most(self) -> int:
        length = self._told_length()
        return self._max_bytes if length is None else min(length, self._max_bytes)

    def _told_length(self) -> int | None:
        told = self._request.length_bytes
        return self.held.progress.length_bytes if told is None else told

    async def _next(self, stream: PartStream) -> FilledPart:
        overtaken = IncompleteBody("the client went away, or asks for this upload anew")
        if self.stopped:
            raise overtaken
        self._reading = asyncio.ensure_future(stream.next_part())
        try:
            return await self._reading
        except asyncio.CancelledError:
            if not self._was_stopped():
                raise
            raise overtaken from None
        finally:
            self._reading = None

    def _was_stopped(self) -> bool:
        return self.stopped and self._reading is not None and self._reading.cancelled()

    def _salvaged(self, stream: PartStream) -> FilledPart | None:
        """What came of the part that was being filled, where it counts."""
        part = stream.salvaged
        if part is not None and self._digests is not None:
            part.release()
            return None
        return part

    async def _send(self, sent: SentParts, part: FilledPart) -> None:
        held = self.held
        try:
            await look_at_beginning(held, part)
            if self._digests is None and self._is_used_up():
                await sent.all_noted()
                await seal(held)
            if held.progress.span is None:
                await held.open_span()
                self._seal_at = asyncio.get_running_loop().time() + self._span_s
        except BaseException:
            part.release()
            raise
        await sent.send(part)

    async def _end(
        self,
        sent: SentParts,
        stream: PartStream,
        last: FilledPart | None,
        failure: MediagateError | None,
    ) -> None:
        """Store the rest, note everything, and let go of the upload unless it is closed."""
        held = self.held
        length, closes = held.progress.length_bytes, False
        try:
            if failure is None:
                if self._digests is not None:
                    self._digests.finish()
                length, closes = self._conclusion(stream)
            rest = await self._store_rest(sent, stream, last, closes=closes)
        except BaseException:
            if last is not None:
                last.release()
            raise
        await sent.all_noted()
        waiting = sent.held_back if failure is None else ()
        is_version = held.terms.kind is not UploadKind.PARTIAL
        if closes and is_version:
            intent = held.upload.intent
            base_seq = await self._runtime.metadata.versions.current_seq(
                intent.tenant, intent.bucket_id, intent.key
            )
            end = {"closed": True, "base_seq": base_seq, "lease_s": FINISH_LEASE_S}
            await held.add(waiting, rest, length_bytes=length, **end)
            return
        await held.add(waiting, rest, length_bytes=length, working=closes)
        if closes:
            await set_aside(held)

    def _conclusion(self, stream: PartStream) -> tuple[int | None, bool]:
        """The length, where it is known now, and whether nothing follows. Raises
        InconsistentLength."""
        end = self._request.offset + stream.size_bytes - self._tail_bytes
        length, closes = self._told_length(), self._request.closes
        if closes is None:
            closes = length == end
        if closes and length is None:
            length = end
        if closes and length != end:
            raise InconsistentLength(f"{length} bytes were announced, {end} came", offset=end)
        return length, closes

    async def _store_rest(
        self, sent: SentParts, stream: PartStream, last: FilledPart | None, *, closes: bool
    ) -> Piece | None:
        """The last of the body, which may be too short for a part, to the store."""
        held = self.held
        if last is None:
            return None
        has_span = held.progress.span is not None
        # What is the old tail only stays where it is, unless it is to become the last part.
        news = stream.size_bytes > self._tail_bytes or (closes and has_span)
        if not last.size_bytes or not news:
            last.release()
            return None
        if (closes and has_span) or (not closes and last.size_bytes >= held.min_part_bytes):
            await self._send(sent, last)
            return None
        try:
            await look_at_beginning(held, last)
            return await held.put(last)
        finally:
            last.release()

    async def _let_go(self) -> None:
        """Tell whoever asks that nobody is appending any more."""
        try:
            await self.held.save(working=False)
        except StoreUnavailable as error:
            log.debug("upload_not_let_go", upload=self.held.upload.ref.id, reason=error.code)
