"""Ending a resumable upload before its end: nothing of it is left."""

from __future__ import annotations

from service.model.ids import TenantId, UploadId
from service.model.upload import UploadState
from service.usecases.resumable.find import find_upload
from service.usecases.runtime import Runtime
from service.usecases.undo import cut_off


async def end_upload(runtime: Runtime, tenant: TenantId, id: UploadId) -> None:
    """Whoever appends to it is cut off; its bytes go in the background. An upload that has become a
    version is left alone: the version is deleted under its own name.

    Raises UploadNotFound, UploadGone, StoreUnavailable.
    """
    found = await find_upload(runtime, tenant, id)
    if found.state is UploadState.COMMITTED:
        return
    await cut_off(runtime, id)
    await runtime.appends.stop(id)
