"""Ending a resumable upload before its end: nothing of it is left."""

from __future__ import annotations

import secrets

from service.model.ids import TenantId, UploadId
from service.model.upload import UploadState
from service.usecases.resumable.find import find_upload
from service.usecases.runtime import Runtime
from service.usecases.undo import clear_quietly


async def end_upload(runtime: Runtime, tenant: TenantId, id: UploadId) -> None:
    """Whoever appends to it is cut off; its bytes go in the background. An upload that has become a
    version is left alone: the version is deleted under its own name.

    Raises UploadNotFound, UploadGone, StoreUnavailable.
    """
    found = await find_upload(runtime, tenant, id)
    if found.state is UploadState.COMMITTED:
        return
    lease_s = runtime.settings.uploads.lease_s
    fenced = await runtime.metadata.uploads.fence(id, secrets.token_hex(8), lease_s)
    if fenced is not None:
        runtime.tasks.spawn(clear_quietly(runtime, fenced), name="undo")
    await runtime.appends.stop(id)
