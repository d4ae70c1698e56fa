"""Opening a multipart: its id stands in the ledger before its first part."""

from __future__ import annotations

import asyncio
import time

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
    """Create the multipart of an upload, under its key or a fresh one.

    A lost answer may have made a multipart whose id nobody knows: that key becomes a leftover and
    the upload goes on under a fresh one. A store that has no time now is asked again, one that lets
    `s3.request_timeout_s` pass is not.
    """
    ledger, ref = runtime.metadata.uploads, upload.ref
    key = upload.intent.blob_key
    give_up_at = time.monotonic() + runtime.settings.s3.request_timeout_s
    for pause_s in (*_CREATE_PAUSES_S, None):
        await lease.ensure()
        creation = runtime.blobs.create_multipart(key, of_copies=of_copies)
        try:
            multipart = await to_its_end(creation)
        except StoreUnavailable as error:
            late = time.monotonic() >= give_up_at
            if pause_s is None or late or isinstance(error, StoreTimeout):
                raise StoreUnavailable("the store opens no multipart upload") from error
            if isinstance(error, OutcomeUnknown):
                key = new_blob_key(upload.intent.tenant)
                await ledger.switch_key(ref, key)
            else:
                await asyncio.sleep(pause_s)
            continue
        await ledger.save_multipart(ref, key, multipart)
        return key, multipart
    raise AssertionError("the last attempt returns or raises")
