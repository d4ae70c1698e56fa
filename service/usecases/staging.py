"""Several uploads that become visible together or not at all.

All are brought as far as the commit, one after the other, while the leases of those that wait are
renewed; then one transaction commits them. What a crash leaves before that are uploads that nobody
but this owner commits (`Intent.staged`), so the sweeper undoes them; after it, all of the versions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from service.errors import Fenced, MediagateError, OutcomeUnknown
from service.model.upload import Staged
from service.usecases.leases import RENEWALS_A_LEASE
from service.usecases.put_object import PutRequest, PutResult, stage_object
from service.usecases.runtime import Runtime
from service.usecases.undo import undo_quietly

_COMMIT_S = 0.05
"""What each upload adds to the deadline of the transaction."""
_UNDONE_AT_ONCE = 8


class Staging:
    """`async with`: whatever is not committed at its end is undone in the background."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._staged: list[Staged] = []
        self._lost: Fenced | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep(), name="leases")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Of an OutcomeUnknown the sweeper finds out what came: all of it, or none."""
        self._keeper.cancel()
        if self._staged and not isinstance(error, OutcomeUnknown):
            self._runtime.tasks.spawn(self._undo(), name="undo")

    async def add(self, request: PutRequest, body: AsyncIterator[bytes]) -> None:
        """Store one more. Raises what `put_object` raises, and Fenced where a lease was lost."""
        if self._lost is not None:
            raise self._lost
        self._staged.append(await stage_object(self._runtime, request, body))

    async def commit(self) -> list[PutResult]:
        """Raises what the commit of any of them raises; none is visible then. OutcomeUnknown."""
        if not self._staged:
            return []
        deadline_s = self._runtime.settings.metadata.commit_timeout_s
        committed = await self._runtime.metadata.uploads.commit_all(
            self._staged, deadline_s=deadline_s + _COMMIT_S * len(self._staged)
        )
        self._staged = []
        return [PutResult(upload.version(), created=not upload.replaced) for upload in committed]

    async def _keep(self) -> None:
        lease_s = self._runtime.settings.uploads.lease_s
        while True:
            await asyncio.sleep(lease_s / RENEWALS_A_LEASE)
            for staged in tuple(self._staged):
                try:
                    await self._runtime.metadata.uploads.renew(staged.upload.ref, lease_s)
                except Fenced as error:
                    self._lost = error
                    return
                except MediagateError:
                    continue  # the commit's compare-and-set tells what it led to

    async def _undo(self) -> None:
        gate = asyncio.Semaphore(_UNDONE_AT_ONCE)

        async def undo(staged: Staged) -> None:
            async with gate:
                await undo_quietly(self._runtime, staged.upload.ref)

        async with asyncio.TaskGroup() as group:
            for staged in self._staged:
                group.create_task(undo(staged))
