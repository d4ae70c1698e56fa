"""Sealing multiparts before the store drops them: MinIO does so 24 hours after they were opened.

Whoever appends renews its multipart by itself. Where nobody has, for a half of that time, this does
it; and for three quarters, whatever `working` says, since that may be left by a dead process.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

import structlog

from service.model.upload import Upload
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal import seal
from service.usecases.runtime import Runtime

_SPARED = 1.5
"""In halves of the multipart's life: how old that of an upload may become at which somebody is."""
log = structlog.get_logger()


async def seal_aging(runtime: Runtime, upload: Upload) -> bool:
    """Seal the multipart of an upload that `aging` found; False where it is left to its holder.

    Raises UploadGone, StoreUnavailable, Fenced.
    """
    progress = upload.progress
    if progress is None or progress.span is None or progress.closed:
        return False
    if progress.working and not await _is_very_old(runtime, upload):
        return False
    claimed = await runtime.metadata.resumables.claim(
        upload.ref.id, secrets.token_hex(8), progress.offset
    )
    if claimed is None or claimed.progress is None or claimed.progress.span is None:
        return False
    held = HeldUpload(runtime, claimed)
    await seal(held)
    await held.save(working=False)
    log.info("upload_sealed", upload=upload.ref.id, tenant=upload.intent.tenant)
    return True


async def _is_very_old(runtime: Runtime, upload: Upload) -> bool:
    assert upload.progress is not None
    assert upload.progress.span is not None
    most = timedelta(seconds=_SPARED * runtime.settings.s3.multipart_ttl_s / 2)
    return await runtime.metadata.now() - upload.progress.span.opened_at >= most
