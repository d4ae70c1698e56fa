"""Keeping the lease of an upload while its owner works on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Fenced, StoreUnavailable
from service.model.upload import UploadRef
from service.stores.ports import UploadLedger

RENEWALS_A_LEASE = 3


@asynccontextmanager
async def kept_lease(ledger: UploadLedger, ref: UploadRef, lease_s: float) -> AsyncIterator[None]:
    """Renew the lease in the background; raise Fenced inside as soon as somebody took it over.

    A metadata store that does not answer is no reason to stop: what guards the commit is the
    compare-and-set on the epoch, never the lease.
    """
    owner = asyncio.current_task()
    assert owner is not None
    lost: list[Fenced] = []

    async def renew() -> None:
        while True:
            await asyncio.sleep(lease_s / RENEWALS_A_LEASE)
            try:
                await ledger.renew(ref, lease_s)
            except Fenced as error:
                lost.append(error)
                owner.cancel()
                return
            except StoreUnavailable:
                continue

    renewal = asyncio.create_task(renew(), name="lease")
    try:
        yield
    except asyncio.CancelledError:
        if lost and owner.uncancel() == 0:
            raise lost[0] from None
        raise
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
    if lost:
        owner.uncancel()
        raise lost[0]
