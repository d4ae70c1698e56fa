"""One request's share of a resumable upload: claimed, appended, and finished where it was the last.

What can be refused by what the ledger says is refused before anything is claimed, so a request that
is wrong harms nobody who is right.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.errors import (
    Forbidden,
    InconsistentLength,
    OffsetMismatch,
    TooLarge,
    UploadComplete,
    UploadTakenOver,
)
from service.model.resumable import Progress, UploadKind
from service.model.upload import Upload, UploadState
from service.usecases.admission import bucket_named, check_size, size_limit
from service.usecases.resumable.append import AppendToUpload
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.find import find_upload, settled_upload
from service.usecases.resumable.finish import finish_upload
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.tidy import tidy
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Appended:
    """committed: the upload, where this was its end. expires_at: None then."""

    offset: int
    length_bytes: int | None
    committed: Upload | None = None
    expires_at: datetime | None = None


async def append_to_upload(
    runtime: Runtime, found: Upload, request: AppendRequest, body: AsyncIterator[bytes]
) -> Appended:
    """Append `body`; consumed once, and only if it is wanted.

    found: as `find_upload` returned it. Cancellation keeps what came.
    Raises OffsetMismatch, UploadComplete, UploadTakenOver, UploadGone, InconsistentLength,
    TooLarge, IncompleteBody, SlowClient, DigestMismatch, UnsupportedMedia, Forbidden (a final
    upload), what the commit may raise, StoreUnavailable, StoreFull.
    """
    assert found.intent.resumable is not None
    if found.intent.resumable.kind is UploadKind.FINAL:
        raise Forbidden("a final upload is made of partial ones: nothing is added to it")
    if found.progress is None or found.progress.closed:
        return await _append_nothing(runtime, found, request)
    _check(found.progress, request)
    limit = await _limit(runtime, found)
    if request.length_bytes is not None:
        check_size(request.length_bytes, limit)
    claimed = await runtime.metadata.resumables.claim(
        found.ref.id,
        secrets.token_hex(8),
        request.offset,
        lease_s=runtime.settings.uploads.ttl_s,
    )
    if claimed is None:
        raise await _why_not(runtime, found, request)
    # Not before: what it noted then would be past the offset that this client was told.
    runtime.appends.overtake(found.ref.id)
    append = AppendToUpload(HeldUpload(runtime, claimed), request, body, max_bytes=limit)
    task = runtime.tasks.spawn(_append_and_finish(runtime, append), name="append")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        append.stop()
        raise


async def _append_and_finish(runtime: Runtime, append: AppendToUpload) -> Appended:
    held = append.held
    id = held.upload.ref.id
    runtime.appends.begin(id, append)
    try:
        await append.run()
    finally:
        runtime.appends.end(id, append)
    progress = held.progress
    if progress.closed:
        committed = await finish_upload(held, is_waited_for=lambda: not append.stopped)
        return Appended(progress.offset, progress.offset, committed)
    await tidy(held)
    expires_at = await runtime.metadata.now() + timedelta(seconds=runtime.settings.uploads.ttl_s)
    return Appended(progress.offset, progress.length_bytes, expires_at=expires_at)


def _check(progress: Progress, request: AppendRequest) -> None:
    """Raises OffsetMismatch, InconsistentLength, TooLarge."""
    if progress.offset != request.offset:
        raise _mismatch(progress.offset, request)
    told, known = request.length_bytes, progress.length_bytes
    if told is not None and (known not in (None, told) or told < request.offset):
        raise InconsistentLength(
            f"the upload has {known if known is not None else request.offset} bytes, not {told}"
        )
    length, size = told if told is not None else known, request.size_bytes
    if length is None or size is None:
        return
    if request.closes and request.offset + size != length:
        raise InconsistentLength(f"{request.offset + size} bytes are not the {length} announced")
    if request.offset + size > length:
        raise TooLarge(f"{request.offset + size} bytes are more than the {length} announced")


def _mismatch(offset: int, request: AppendRequest) -> OffsetMismatch:
    return OffsetMismatch(
        f"the upload is at {offset}, not at {request.offset}",
        offset=offset,
        given_offset=request.offset,
    )


async def _limit(runtime: Runtime, found: Upload) -> int:
    terms = found.intent.resumable
    assert terms is not None
    bucket = None
    if terms.bucket:
        bucket = await bucket_named(runtime, found.intent.tenant, terms.bucket)
    return size_limit(runtime, bucket)


async def _append_nothing(runtime: Runtime, found: Upload, request: AppendRequest) -> Appended:
    """The end again: the answer to the last request was lost, or is not out yet.

    Raises OffsetMismatch, UploadComplete.
    """
    finished = await settled_upload(runtime, found)
    if finished.state is not UploadState.COMMITTED or finished.completion is None:
        raise UploadTakenOver("another request is at this upload")
    offset = finished.completion.size_bytes
    if request.offset != offset:
        raise _mismatch(offset, request)
    if request.size_bytes != 0:
        raise UploadComplete("nothing can be added to this upload any more", offset=offset)
    return Appended(offset, offset, finished)


async def _why_not(runtime: Runtime, found: Upload, request: AppendRequest) -> Exception:
    """What a claim that failed is to be told: somebody was faster, or it is over."""
    now = await find_upload(runtime, found.intent.tenant, found.ref.id)
    if now.progress is not None and now.progress.offset != request.offset:
        return _mismatch(now.progress.offset, request)
    return UploadTakenOver("another request is at this upload")
