"""Undoing an upload: after it nothing of the upload is left in the store, and nothing was visible.

Winning `undoing` comes first. It conflicts with the commit transaction, so once it is acknowledged
no version can come of this upload, and only then may its keys be aborted and deleted. A crash
anywhere leaves `undoing`, from where the sweeper goes on. Requests of a dead owner that the store
only carries out later are looked for once more, when the tombstone falls due.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import structlog

from service.errors import MediagateError, StoreUnavailable
from service.model.ids import UploadId
from service.model.upload import Upload, UploadRef, UsedKey
from service.usecases.runtime import Runtime

log = structlog.get_logger()


async def undo(runtime: Runtime, ref: UploadRef) -> None:
    """Win `undoing`, remove every trace, leave a tombstone.

    Raises Fenced where the upload is committed, undone or somebody else's; StoreUnavailable where
    a store did not answer, in which case the sweeper goes on later.
    """
    await clear(runtime, await _won(runtime, ref))


async def _won(runtime: Runtime, ref: UploadRef) -> Upload:
    return await runtime.metadata.uploads.begin_undo(ref, runtime.settings.uploads.lease_s)


async def clear(runtime: Runtime, upload: Upload) -> None:
    """The rest of an undo, for an upload that is `undoing` under our ref."""
    await remove_blobs(runtime, upload.keys)
    await runtime.metadata.uploads.finish_undo(upload.ref, runtime.settings.uploads.tombstone_s)
    log.info("upload_undone", upload=upload.ref.id, tenant=upload.intent.tenant)


async def undo_quietly(runtime: Runtime, ref: UploadRef) -> None:
    """Undo after a failure that is reported already; what cannot be done now the sweeper does."""
    try:
        await undo(runtime, ref)
    except MediagateError as error:
        log.info("undo_left_to_sweeper", upload=ref.id, reason=error.code)


async def give_up(runtime: Runtime, ref: UploadRef) -> None:
    """Win `undoing`, and remove every trace in the background: nothing can come of the upload, and
    that may be said now.

    Raises Fenced, StoreUnavailable as `undo` does.
    """
    upload = await _won(runtime, ref)
    runtime.tasks.spawn(clear_quietly(runtime, upload), name="undo")


async def cut_off(runtime: Runtime, upload: UploadId) -> None:
    """The same for an upload whoever has it; nothing where it can be undone no more."""
    owner, lease_s = secrets.token_hex(8), runtime.settings.uploads.lease_s
    fenced = await runtime.metadata.uploads.fence(upload, owner, lease_s)
    if fenced is not None:
        runtime.tasks.spawn(clear_quietly(runtime, fenced), name="undo")


async def clear_quietly(runtime: Runtime, upload: Upload) -> None:
    """The same after a failure that is reported already."""
    try:
        await clear(runtime, upload)
    except MediagateError as error:
        log.info("undo_left_to_sweeper", upload=upload.ref.id, reason=error.code)


async def remove_blobs(runtime: Runtime, keys: Iterable[UsedKey]) -> None:
    """Abort every multipart of these keys, delete their blobs, and see that they are gone."""
    for used in keys:
        found = await runtime.blobs.list_multiparts(used.blob_key)
        known = [used.multipart_id] if used.multipart_id is not None else []
        for multipart in dict.fromkeys([*known, *found]):
            await runtime.blobs.abort(used.blob_key, multipart)
        await runtime.blobs.delete(used.blob_key)
        if await runtime.blobs.head(used.blob_key) is not None:
            raise StoreUnavailable("a deleted blob is still there")
