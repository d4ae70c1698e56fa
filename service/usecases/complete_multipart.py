"""The store's Complete, until it is known what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.errors import OutcomeUnknown, StoreTimeout, StoreUnavailable
from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part
from service.usecases.runtime import Runtime
from service.usecases.store_body import is_whole

COMPLETE_PAUSES_S = (0.2, 1.0)
"""Before a Complete that was refused for now, or whose answer was lost, is sent again; longer the
more parts there are."""
_PAUSE_A_PART_S = 0.001


async def complete_multipart(
    runtime: Runtime,
    key: BlobKey,
    multipart: MultipartId,
    parts: Sequence[Part],
    size_bytes: int,
    crc64nvme: bytes,
) -> None:
    """MinIO answers NoSuchUpload to a repeated Complete, so a HEAD tells what happened.

    Where it tells nothing yet, a store that is slow, or one that never heard of it, gets the same
    Complete again: it is the same blob either way. So does one that had no time for it: a
    `SlowDown` now is no reason to let go of all the bytes.
    Raises StoreUnavailable, OutcomeUnknown.
    """
    pauses = iter(COMPLETE_PAUSES_S)
    while True:
        try:
            await runtime.blobs.complete(key, multipart, parts, crc64nvme)
        except StoreUnavailable as error:
            lost = isinstance(error, OutcomeUnknown)
            if lost and await is_whole(runtime, key, size_bytes, crc64nvme):
                return
            pause_s = next(pauses, None)
            if pause_s is None or isinstance(error, StoreTimeout):
                raise
            await asyncio.sleep(pause_s + len(parts) * _PAUSE_A_PART_S)
        else:
            return
