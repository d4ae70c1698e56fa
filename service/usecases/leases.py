"""Keeping the lease of an upload while its owner works on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Fenced, StoreUnavailable
from service.model.upload import UploadRef
from service.stores.ports import UploadLedger

RENEWALS_A_LEASE = 3


class Lease:
    """When the ledger last acknowledged that the upload is ours.

    The tombstone of an undone upload looks for late requests for a bounded time only. So a request
    that makes something new in the store is signed only under a lease that still holds, or after
    asking: an owner that was paused or cut off from the ledger for hours sends nothing.
    """

    def __init__(self, ledger: UploadLedger, ref: UploadRef, lease_s: float) -> None:
        self._ledger = ledger
        self._ref = ref
        self._lease_s = lease_s
        self._acknowledged_at = _boot_time_s()

    async def renew(self) -> None:
        """Raises Fenced, StoreUnavailable."""
        asked_at = _boot_time_s()
        await self._ledger.renew(self._ref, self._lease_s)
        self._acknowledged_at = asked_at

    async def ensure(self) -> None:
        """Return only while the upload is ours by the ledger's word; asks where that is old."""
        if _boot_time_s() - self._acknowledged_at >= self._lease_s / 2:
            await self.renew()


def _boot_time_s() -> float:
    """A clock that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@asynccontextmanager
async def kept_lease(ledger: UploadLedger, ref: UploadRef, lease_s: float) -> AsyncIterator[Lease]:
    """Renew the lease in the background; raise Fenced inside as soon as somebody took it over.

    A metadata store that does not answer is no reason to stop at once: what guards the commit is
    the compare-and-set on the epoch, and `Lease.ensure` guards what is sent to the store of bytes.
    """
    owner = asyncio.current_task()
    assert owner is not None
    lease = Lease(ledger, ref, lease_s)
    lost: list[Fenced] = []

    async def keep() -> None:
        while True:
            await asyncio.sleep(lease_s / RENEWALS_A_LEASE)
            try:
                await lease.renew()
            except Fenced as error:
                lost.append(error)
                owner.cancel()
                return
            except StoreUnavailable:
                continue

    renewal = asyncio.create_task(keep(), name="lease")
    try:
        yield lease
    except asyncio.CancelledError:
        if lost and owner.uncancel() == 0:
            raise lost[0] from None
        raise
    except BaseException:
        await _absorb(owner, lost)
        raise
    else:
        await _absorb(owner, lost)
        if lost:
            raise lost[0]
    finally:
        renewal.cancel()


async def _absorb(owner: asyncio.Task[object], lost: list[Fenced]) -> None:
    """Take the cancellation that `keep` sent when it is too late to interrupt anything.

    It would strike at the next await, somewhere outside.
    """
    if not lost:
        return
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if owner.uncancel() > 0:
            raise
