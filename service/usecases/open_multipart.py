"""Opening a multipart: its id stands in the ledger before its first part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from service.errors import OutcomeUnknown, StoreTimeout, StoreUnavailable
from service.model.ids import BlobKey, MultipartId
from service.model.upload import Upload
from service.stores.blob_layout import new_blob_key
from service.usecases.leases import Lease
from service.usecases.runtime import Runtime
from service.usecases.tasks import to_its_end

_CREATE_PAUSES_S = (0.2, 1.0)
"""Before a CreateMultipartUpload that was refused for now is sent again."""


async def open_multipart(
    runtime: Runtime, upload: Upload, lease: Lease, *, of_copies: bool = False
) -> tuple[BlobKey, MultipartId]:
    """Create the multipart of an upload, under its key or a fresh one."""
    ledger, ref = runtime.metadata.uploads, upload.ref

    async def another_key() -> BlobKey:
        key = new_blob_key(upload.intent.tenant)
        await ledger.switch_key(ref, key)
        return key

    key, multipart = await create_multipart(
        runtime, upload.intent.blob_key, another_key, before=lease.ensure, of_copies=of_copies
    )
    await ledger.save_multipart(ref, key, multipart)
    return key, multipart


async def create_multipart(
    runtime: Runtime,
    key: BlobKey,
    another_key: Callable[[], Awaitable[BlobKey]],
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    of_copies: bool = False,
) -> tuple[BlobKey, MultipartId]:
    """A multipart under the key, or under another one that is noted in the ledger.

    A lost answer may have made a multipart whose id nobody knows: that key becomes a leftover. A
    store that has no time now is asked again, one that lets `s3.request_timeout_s` pass is not.
    """
    give_up_at = time.monotonic() + runtime.settings.s3.request_timeout_s
    for pause_s in (*_CREATE_PAUSES_S, None):
        if before is not None:
            await before()
        creation = runtime.blobs.create_multipart(key, of_copies=of_copies)
        try:
            multipart = await to_its_end(creation)
        except StoreUnavailable as error:
            late = time.monotonic() >= give_up_at
            if pause_s is None or late or isinstance(error, StoreTimeout):
                raise StoreUnavailable("the store opens no multipart upload") from error
            if isinstance(error, OutcomeUnknown):
                key = await another_key()
            else:
                await asyncio.sleep(pause_s)
        else:
            return key, multipart
    raise AssertionError("the last attempt returns or raises")
