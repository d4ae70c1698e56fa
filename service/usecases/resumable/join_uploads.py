"""A final upload: the bytes of partial ones, one after the other, as one version."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from service.errors import Invalid, UploadGone, UploadNotFound, UploadTakenOver
from service.model.ids import UploadId
from service.model.resumable import Piece, UploadKind
from service.model.upload import Upload
from service.usecases.admission import check_size, size_limit
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.find import find_upload, settled_upload
from service.usecases.resumable.finish import FINISH_LEASE_S, finish_upload
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import set_aside
from service.usecases.runtime import Runtime

MOST_PARTIAL = 1_000


async def join_uploads(
    runtime: Runtime, request: CreateRequest, partial: Sequence[UploadId]
) -> Upload:
    """The committed upload. Partial ones stay what they are, and may be used again.

    request: of a final upload. Raises Invalid for uploads that are no partial ones or lack bytes,
    UploadNotFound, UploadGone, what `create_upload` and `finish_upload` raise.
    """
    if not 0 < len(partial) <= MOST_PARTIAL:
        raise Invalid(f"a final upload is made of 1 to {MOST_PARTIAL} partial ones")
    pieces_of = {id: await _pieces(runtime, request, id) for id in dict.fromkeys(partial)}
    pieces = [piece for id in partial for piece in pieces_of[id]]
    length = sum(piece.size_bytes for piece in pieces)
    check_size(length, size_limit(runtime, None))
    upload = await create_upload(runtime, replace(request, length_bytes=length))
    if upload.progress is None or upload.progress.offset or upload.ref.epoch > 1:
        return await settled_upload(runtime, upload)
    return await runtime.tasks.outlive(_join(runtime, upload, pieces), name="join")


async def _join(runtime: Runtime, upload: Upload, pieces: Sequence[Piece]) -> Upload:
    intent, owner = upload.intent, secrets.token_hex(8)
    claimed = await runtime.metadata.resumables.claim(
        upload.ref.id, owner, 0, lease_s=FINISH_LEASE_S
    )
    if claimed is None:
        raise UploadTakenOver("another request makes this upload")
    held = HeldUpload(runtime, claimed)
    base_seq = await runtime.metadata.versions.current_seq(
        intent.tenant, intent.bucket_id, intent.key
    )
    await held.save(
        segments=tuple(piece for piece in pieces if piece.size_bytes),
        offset=sum(piece.size_bytes for piece in pieces),
        closed=True,
        base_seq=base_seq,
        lease_s=FINISH_LEASE_S,
    )
    return await finish_upload(held, is_waited_for=lambda: True)


async def _pieces(runtime: Runtime, request: CreateRequest, id: UploadId) -> tuple[Piece, ...]:
    """Where the bytes of a partial upload lie, all of which are there."""
    found = await find_upload(runtime, request.tenant, id)
    terms, progress = found.intent.resumable, found.progress
    if terms is not None and terms.principal != request.terms.principal:
        raise UploadNotFound("there is no such upload of yours")
    if terms is None or terms.kind is not UploadKind.PARTIAL or progress is None:
        raise Invalid("only partial uploads are joined", upload=id)
    if not progress.is_full:
        raise Invalid("a partial upload lacks bytes", upload=id, offset=progress.offset)
    if progress.span is None and progress.tail is None:
        return progress.segments
    return await _set_aside(runtime, found, progress.offset)


async def _set_aside(runtime: Runtime, found: Upload, offset: int) -> tuple[Piece, ...]:
    """What whoever sent the last byte did not come to."""
    claimed = await runtime.metadata.resumables.claim(found.ref.id, secrets.token_hex(8), offset)
    if claimed is None:
        raise UploadGone("a partial upload has just ended")
    held = HeldUpload(runtime, claimed)
    await set_aside(held)
    return held.progress.segments
