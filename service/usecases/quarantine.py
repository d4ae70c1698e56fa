"""Deleting strays that were found, waited for `audit.quarantine_s`, and were found again."""

from __future__ import annotations

from datetime import datetime

import structlog

from service.errors import MediagateError, StoreUnavailable
from service.model.audit import Stray
from service.usecases.judge import judge_strays
from service.usecases.patience import a_few_at_once
from service.usecases.runtime import Runtime

_A_MOMENT_S = 0.001
log = structlog.get_logger()


async def delete_quarantined(runtime: Runtime, cycle_began_at: datetime) -> tuple[int, int]:
    """Delete what an earlier cycle than this one noted, long enough ago; (deleted, failed).

    Everything noted now was found in this cycle; it is judged once more just before it goes.
    """
    audits, settings = runtime.metadata.audits, runtime.settings.audit
    deleted, failed = 0, set[Stray]()
    while True:
        cycle_s = (await runtime.metadata.now() - cycle_began_at).total_seconds()
        noted = await audits.quarantined(
            found_before_s=max(settings.quarantine_s, cycle_s + _A_MOMENT_S),
            limit=settings.batch + len(failed),
        )
        due = [stray for stray in noted if stray not in failed]
        if not due:
            return deleted, len(failed)
        strange = {
            Stray(finding.blob_key, finding.multipart_id)
            for finding in await judge_strays(runtime, due)
        }
        gone = await a_few_at_once(lambda stray: _deleted(runtime, stray), strange)
        failed |= {stray for stray, is_gone in zip(strange, gone, strict=True) if not is_gone}
        deleted += sum(gone)
        await audits.release([stray for stray in due if stray not in failed])


async def _deleted(runtime: Runtime, stray: Stray) -> bool:
    try:
        await _delete(runtime, stray)
    except MediagateError as error:
        log.warning("stray_not_deleted", blob_key=stray.blob_key, reason=error.code)
        return False
    log.info("stray_deleted", blob_key=stray.blob_key, multipart=stray.multipart_id)
    return True


async def _delete(runtime: Runtime, stray: Stray) -> None:
    if stray.multipart_id is not None:
        await runtime.blobs.abort(stray.blob_key, stray.multipart_id)
        return
    await runtime.blobs.delete(stray.blob_key)
    if await runtime.blobs.head(stray.blob_key) is not None:
        raise StoreUnavailable("a deleted blob is still there")
