"""Looking at a resumable upload: whether there is one, how far it is, what came of it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from service.errors import StoreUnavailable, UploadGone, UploadNotFound, UploadTakenOver
from service.model.ids import TenantId, UploadId
from service.model.upload import Upload, UploadState
from service.usecases.resumable.finish import finish_upload
from service.usecases.resumable.held import HeldUpload
from service.usecases.runtime import Runtime

HANDOVER_S = 1.0
"""How long an offset is not told while somebody else may be about to note a greater one."""
FINISHING_S = 20.0
"""How long the end of an upload is waited for."""
_LOOK_S = 0.1


async def find_upload(runtime: Runtime, tenant: TenantId, id: UploadId) -> Upload:
    """An upload that may go on, is being finished, or was.

    Raises UploadNotFound, UploadGone.
    """
    found = await runtime.metadata.uploads.get(id)
    if found is None or found.intent.tenant != tenant or found.intent.resumable is None:
        raise UploadNotFound("there is no such upload, or it was forgotten")
    if found.state is UploadState.COMMITTED:
        return found
    if found.progress is None or found.state is UploadState.UNDOING:
        raise UploadGone("this upload was ended, has expired, or came to nothing")
    if not found.progress.closed and await has_expired(runtime, found):
        raise UploadGone("this upload has expired")
    return found


async def has_expired(runtime: Runtime, upload: Upload) -> bool:
    return upload.lease_until is not None and upload.lease_until < await runtime.metadata.now()


async def settled_upload(runtime: Runtime, found: Upload) -> Upload:
    """The upload once nobody appends to it any more and nobody finishes it.

    found: as `find_upload` returned it.

    A request in this process that appends is asked to end, as its client does not send any more;
    one elsewhere is waited for, for a moment. Raises what `find_upload` and `finish_upload` raise,
    and StoreUnavailable while another process finishes it.
    """
    tenant, id = found.intent.tenant, found.ref.id
    if await runtime.appends.stop(id):
        found = await find_upload(runtime, tenant, id)
    now_s = asyncio.get_running_loop().time
    patience = now_s() + HANDOVER_S
    while found.progress is not None and found.progress.working and not found.progress.closed:
        if now_s() >= patience:
            break
        await asyncio.sleep(_LOOK_S)
        found = await find_upload(runtime, tenant, id)
    if found.progress is not None and found.progress.closed:
        return await _finished(runtime, found)
    return found


async def _finished(runtime: Runtime, found: Upload) -> Upload:
    """The committed upload: somebody else's work, or ours where nobody is at it any more."""
    now_s = asyncio.get_running_loop().time
    patience = now_s() + FINISHING_S
    tenant, id = found.intent.tenant, found.ref.id
    while found.progress is not None and now_s() < patience:
        owner = secrets.token_hex(8)
        lease_s = runtime.settings.uploads.lease_s
        taken = await runtime.metadata.uploads.take_over(id, owner, lease_s)
        if taken is not None and taken.progress is not None:
            finishing = finish_upload(HeldUpload(runtime, taken), is_waited_for=lambda: True)
            with suppress(UploadTakenOver):
                return await runtime.tasks.outlive(finishing, name="finish")
        await asyncio.sleep(_LOOK_S)
        found = await find_upload(runtime, tenant, id)
    if found.progress is not None:
        raise StoreUnavailable("the upload is being finished: ask again", retry_after_s=1)
    return found
