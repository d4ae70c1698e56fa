"""From a closed upload to a visible version, whoever does it: its last request, a later one, or the
sweeper.

    the tail into the multipart -> sealed -> segments joined, where there are several
    -> digests that were asked for -> the commit transaction

Each step starts from what the ledger says, so whoever takes over goes on where it was. A store that
does not answer leaves everything as it is; only what can never succeed (a precondition, a digest,
lost bytes) ends the upload, and only after `undoing` is won.

A commit always names what was newest on the key when the upload was closed. With a client that
waits, something newer is no reason to fail: it is asked for again. Without one, what came later
wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from service.errors import (
    BlobMissing,
    BucketDeleting,
    Conflict,
    Fenced,
    MediagateError,
    MultipartGone,
    OutcomeUnknown,
    StoreFull,
    StoreUnavailable,
    UploadGone,
    UploadTakenOver,
)
from service.model.resumable import Piece
from service.model.upload import Completion, Upload, UploadState
from service.usecases.digests import BodyDigests, crc64nvme
from service.usecases.leases import kept_lease
from service.usecases.part_stream import FilledPart
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.join import join
from service.usecases.resumable.seal import lost, seal
from service.usecases.resumable.sent_parts import told
from service.usecases.undo import give_up

FINISH_LEASE_S = 10.0
"""How long nobody else finishes an upload after whoever does was last heard of."""
_TRIES = 5
log = structlog.get_logger()


async def finish_upload(held: HeldUpload, *, is_waited_for: Callable[[], bool]) -> Upload:
    """Returns the committed upload.

    Raises PreconditionFailed, BucketNotFound, BucketDeleting, DigestMismatch, Conflict (something
    newer, and nobody waits) and UploadGone: it came to nothing. StoreUnavailable, StoreFull,
    OutcomeUnknown: it is finished later.
    """
    try:
        return await _finish(held, is_waited_for)
    except Fenced as error:
        raise UploadTakenOver("another request finishes this upload") from error
    except OutcomeUnknown:
        return await _read_back(held)


async def _finish(held: HeldUpload, is_waited_for: Callable[[], bool]) -> Upload:
    ledger = held.runtime.metadata.uploads
    try:
        async with kept_lease(ledger, held.upload.ref, FINISH_LEASE_S):
            piece = await _assemble(held)
            completion = await _completion(held, piece)
            return await _commit(held, piece, completion, is_waited_for)
    except (Fenced, OutcomeUnknown, UploadGone):
        raise
    except BlobMissing as error:
        raise await lost(held) from error
    except MultipartGone as error:
        raise await told(held, error) from error
    except (StoreUnavailable, StoreFull):
        await _leave(held)
        raise
    except MediagateError:
        try:
            await give_up(held.runtime, held.upload.ref)
        except StoreUnavailable as silent:
            raise OutcomeUnknown("the upload could be neither committed nor undone") from silent
        raise


async def _assemble(held: HeldUpload) -> Piece:
    """All bytes in one object."""
    if held.sealing:
        await seal(held)
    span = held.progress.span
    if span is not None and span.of_copies:
        await held.save(span=None, anew=True)  # a join that was not ended: it begins again
    if held.progress.tail is not None:
        await _fold_tail(held, held.progress.tail)
    if held.progress.span is not None:
        await seal(held)
    if not held.progress.segments:
        await held.save(segments=(await _put_nothing(held),))
    if len(held.progress.segments) > 1 or not _is_own(held, held.progress.segments[0]):
        await join(held)
    (piece,) = held.progress.segments
    return piece


def _is_own(held: HeldUpload, piece: Piece) -> bool:
    """A final upload begins with the pieces of partial ones."""
    return any(used.blob_key == piece.blob_key for used in held.upload.keys)


async def _fold_tail(held: HeldUpload, tail: Piece) -> None:
    """Into the multipart in use as its last part; without one it is a segment as it is."""
    span = held.progress.span
    if span is None:
        await held.save(segments=(*held.progress.segments, tail), tail=None)
        return
    runtime, number = held.runtime, await held.take_number()
    async with runtime.blobs.read(tail.blob_key, 0, tail.size_bytes) as chunks:
        data = [chunk async for chunk in chunks]
    part = await runtime.blobs.upload_part(
        span.blob_key, span.multipart_id, number, data, tail.crc64nvme
    )
    await held.add([(part, tail.crc64nvme)], lease_s=FINISH_LEASE_S)


async def _put_nothing(held: HeldUpload) -> Piece:
    return await held.put(FilledPart(held.runtime.budget.lane(1)))


async def _completion(held: HeldUpload, piece: Piece) -> Completion:
    intent, progress = held.upload.intent, held.progress
    return Completion(
        size_bytes=piece.size_bytes,
        digests=await _digests(held, piece),
        facts=replace(intent.facts, sniffed_type=progress.sniffed_type),
        parts=(),
        base_seq=progress.base_seq,
    )


async def _digests(held: HeldUpload, piece: Piece) -> dict[str, bytes]:
    """CRC64NVME is known; for any other the bytes are read back. Raises DigestMismatch."""
    terms = held.terms
    digests = BodyDigests(terms.expected_digests, terms.wanted_digests)
    if digests.names and piece.size_bytes:
        async with held.runtime.blobs.read(piece.blob_key, 0, piece.size_bytes) as chunks:
            async for chunk in chunks:
                await digests.update([chunk], len(chunk), crc64nvme(chunk))
    else:
        digests.known(piece.crc64nvme)
    return digests.finish()


async def _commit(
    held: HeldUpload, piece: Piece, completion: Completion, is_waited_for: Callable[[], bool]
) -> Upload:
    runtime, ref = held.runtime, held.upload.ref
    if held.upload.intent.blob_key != piece.blob_key:
        await runtime.metadata.resumables.use_key(ref, piece.blob_key)
        intent = replace(held.upload.intent, blob_key=piece.blob_key)
        held.upload = replace(held.upload, intent=intent)
    intent, base_seq = held.upload.intent, held.progress.base_seq
    for attempt in range(1, _TRIES + 1):
        try:
            return await runtime.metadata.uploads.commit_whole(
                held.upload,
                replace(completion, base_seq=base_seq),
                deadline_s=runtime.settings.metadata.commit_timeout_s,
                base_seq=base_seq,
            )
        except BucketDeleting:
            raise
        except Conflict:
            if attempt == _TRIES or not is_waited_for():
                raise
        base_seq = await runtime.metadata.versions.current_seq(
            intent.tenant, intent.bucket_id, intent.key
        )
    raise AssertionError("the last attempt returns or raises")


async def _read_back(held: HeldUpload) -> Upload:
    """What became of a step whose answer was lost. Raises OutcomeUnknown where nobody knows yet."""
    found = await held.runtime.metadata.uploads.get(held.upload.ref.id)
    if found is None or found.state is not UploadState.COMMITTED:
        raise OutcomeUnknown("the upload is being finished")
    return found


async def _leave(held: HeldUpload) -> None:
    """Whoever asks next may go on at once."""
    try:
        await held.runtime.metadata.uploads.renew(held.upload.ref, 0)
    except StoreUnavailable as error:
        log.debug("upload_not_left", upload=held.upload.ref.id, reason=error.code)
