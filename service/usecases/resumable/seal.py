"""Sealing: the multipart in use is completed, and is a segment from then on.

Nobody sends Complete before `sealing` is acknowledged, and nobody adds a part after that; whoever
claims an upload in this state goes on with it. So what a crash leaves is a multipart of exactly the
parts that the ledger knows, completed or not.
"""

from __future__ import annotations

from service.errors import OutcomeUnknown, StoreRefused, UploadGone
from service.model.resumable import Piece, Span
from service.model.upload import UploadState
from service.usecases.complete_multipart import complete_multipart
from service.usecases.resumable.held import HeldUpload
from service.usecases.store_body import is_whole
from service.usecases.undo import give_up


async def seal(held: HeldUpload) -> None:
    """Raises UploadGone where the store has lost the multipart, StoreUnavailable, Fenced."""
    span = held.progress.span
    assert span is not None
    if not held.parts:
        await held.save(span=None, anew=True)
        return
    if not held.sealing:
        await held.save(state=UploadState.SEALING)
    await _complete(held, span)
    sealed = Piece(span.blob_key, span.size_bytes, span.crc64nvme)
    segments = (sealed,) if span.of_copies else (*held.progress.segments, sealed)
    await held.save(segments=segments, span=None, anew=True)


async def _complete(held: HeldUpload, span: Span) -> None:
    runtime = held.runtime
    whole = (span.size_bytes, span.crc64nvme)
    try:
        await complete_multipart(runtime, span.blob_key, span.multipart_id, held.parts, *whole)
    except (OutcomeUnknown, StoreRefused) as error:
        known = await runtime.blobs.list_multiparts(span.blob_key)
        # After the list, since it may have been completed in between.
        if await is_whole(runtime, span.blob_key, *whole):
            return
        if span.multipart_id in known and isinstance(error, OutcomeUnknown):
            raise
        raise await lost(held) from error
    if span.of_copies and not await is_whole(runtime, span.blob_key, *whole):
        raise await lost(held)


async def set_aside(held: HeldUpload) -> None:
    """A partial upload that has all of its bytes waits as segments, which do not grow old."""
    if held.sealing or held.progress.span is not None:
        await seal(held)
    tail = held.progress.tail
    if tail is not None:
        await held.save(segments=(*held.progress.segments, tail), tail=None)
    await held.save(working=False)


async def lost(held: HeldUpload) -> UploadGone:
    """Bytes that were acknowledged are not in the store any more: the upload has to begin anew.

    That is said once `undoing` is won: to whoever was overtaken, a multipart that others completed
    looks just the same. Raises Fenced then, StoreUnavailable.
    """
    await give_up(held.runtime, held.upload.ref)
    return UploadGone("the store has lost bytes of this upload: it has to begin anew")
