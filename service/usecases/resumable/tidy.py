"""Keys that an upload has used up: handed over to a tombstone, before they become too many.

Each append may leave a tail behind, and an upload may take a hundred thousand appends.
"""

from __future__ import annotations

import structlog

from service.errors import StoreUnavailable
from service.usecases.resumable.held import HeldUpload

log = structlog.get_logger()
MOST_SPENT = 32


async def tidy(held: HeldUpload) -> None:
    """Only where it is worth it. What fails is tried again after the next append."""
    spent = held.spent()
    if len(spent) < MOST_SPENT:
        return
    runtime = held.runtime
    keys = [used.blob_key for used in spent]
    try:
        await runtime.metadata.resumables.retire(
            held.upload.ref, keys, runtime.settings.uploads.tombstone_s
        )
    except StoreUnavailable as error:
        log.debug("keys_not_retired", upload=held.upload.ref.id, reason=error.code)
