"""One pass of the sweeper: finish or undo what was abandoned, delete what is dead.

Which process does it does not matter for safety: every step names {epoch, owner, state}, so two
sweepers, or a sweeper and an owner that was only slow, cannot both win. A raw PUT past its lease is
undone, unless it is already `completing`, HEAD proves its whole blob, and nothing newer was
committed on its key: then it is rolled forward. `StoreUnavailable` leaves an upload for the next
pass.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from service.errors import Fenced, MediagateError, StoreFull, StoreUnavailable
from service.model.upload import UNFINISHED, Upload, UploadState
from service.model.version import Version
from service.usecases.digests import CRC64NVME
from service.usecases.resumable.finish import finish_upload
from service.usecases.resumable.held import HeldUpload
from service.usecases.resumable.seal_aging import seal_aging
from service.usecases.runtime import Runtime
from service.usecases.store_body import is_whole
from service.usecases.undo import clear, remove_blobs, undo

T = TypeVar("T")
log = structlog.get_logger()
_AT_ONCE = 8


@dataclass(slots=True)
class SweepReport:
    """aborted, rolled_forward: uploads settled by this pass. sealed: resumable ones whose multipart
    was completed before the store drops it. blobs_deleted: of dead versions.

    open, tombstones: entries in the ledger after the pass. failed: left for the next pass.
    """

    aborted: int = 0
    rolled_forward: int = 0
    sealed: int = 0
    blobs_deleted: int = 0
    open: int = 0
    tombstones: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def followed_by(self, later: SweepReport) -> SweepReport:
        """Both passes as one: the work of both, and what the later one found."""
        return SweepReport(
            aborted=self.aborted + later.aborted,
            rolled_forward=self.rolled_forward + later.rolled_forward,
            sealed=self.sealed + later.sealed,
            blobs_deleted=self.blobs_deleted + later.blobs_deleted,
            open=later.open,
            tombstones=later.tombstones,
            failed=later.failed,
        )

    def work(self) -> dict[str, int]:
        """What this pass did, without the levels that it found."""
        levels = ("open", "tombstones")
        return {kind: count for kind, count in asdict(self).items() if kind not in levels}


async def sweep(runtime: Runtime) -> SweepReport:
    """Every pass that is due, in batches until nothing is left that can be done now."""
    report = SweepReport()
    await _settle_expired(runtime, report)
    await _seal_aging(runtime, report)
    await _look_again(runtime, report)
    await _delete_dead(runtime, report)
    await _forget(runtime)
    counts = await runtime.metadata.uploads.count()
    report.open = sum(counts.get(state, 0) for state in UNFINISHED)
    report.tombstones = counts.get(UploadState.UNDONE, 0)
    runtime.metrics.set_ledger({state: counts.get(state, 0) for state in UploadState})
    runtime.metrics.swept(report.work())
    return report


async def _settle_expired(runtime: Runtime, report: SweepReport) -> None:
    async def settle(upload: Upload) -> None:
        owner, lease_s = secrets.token_hex(8), runtime.settings.uploads.lease_s
        taken = await runtime.metadata.uploads.take_over(upload.ref.id, owner, lease_s)
        if taken is None:
            raise Fenced
        if await _rolled_forward(runtime, taken) or await _finished(runtime, taken):
            report.rolled_forward += 1
            return
        if taken.state is UploadState.UNDOING:
            await clear(runtime, taken)
        else:
            await undo(runtime, taken.ref)
        report.aborted += 1

    await _each(
        lambda limit: runtime.metadata.uploads.expired(limit=limit),
        settle,
        runtime.settings.sweep.batch,
        report,
        name=lambda upload: upload.ref.id,
    )


async def _rolled_forward(runtime: Runtime, upload: Upload) -> bool:
    """Commit an upload whose owner died between `completing` and its commit, if that is right."""
    if upload.state is not UploadState.COMPLETING or upload.completion is None:
        return False
    if upload.intent.staged:
        return False
    completion = upload.completion
    if await _too_old(runtime, upload):
        return False
    crc = completion.digests[CRC64NVME]
    if not await is_whole(runtime, upload.intent.blob_key, completion.size_bytes, crc):
        return False
    try:
        await runtime.metadata.uploads.commit(
            upload.ref,
            deadline_s=runtime.settings.metadata.commit_timeout_s,
            base_seq=completion.base_seq,
        )
    except StoreUnavailable:
        raise
    except MediagateError as error:
        log.info("not_rolled_forward", upload=upload.ref.id, reason=error.code)
        return False
    log.info("upload_rolled_forward", upload=upload.ref.id, tenant=upload.intent.tenant)
    return True


async def _finished(runtime: Runtime, upload: Upload) -> bool:
    """Finish a resumable upload that has all of its bytes, and that nobody is at any more."""
    if upload.progress is None or not upload.progress.closed:
        return False
    try:
        await finish_upload(HeldUpload(runtime, upload), is_waited_for=lambda: False)
    except (StoreUnavailable, StoreFull):
        raise
    except MediagateError as error:
        log.info("not_finished", upload=upload.ref.id, reason=error.code)
        raise Fenced from error  # undone by then
    log.info("upload_finished", upload=upload.ref.id, tenant=upload.intent.tenant)
    return True


async def _too_old(runtime: Runtime, upload: Upload) -> bool:
    """Past the grace the tombstones that prove "nothing newer" may go; half of it is safe."""
    if upload.completing_at is None:
        return True
    half_grace = timedelta(seconds=runtime.settings.sweep.grace_s / 2)
    return upload.completing_at + half_grace < await runtime.metadata.now()


async def _seal_aging(runtime: Runtime, report: SweepReport) -> None:
    half_s = runtime.settings.s3.multipart_ttl_s / 2

    async def look(upload: Upload) -> None:
        if not await seal_aging(runtime, upload):
            raise Fenced
        report.sealed += 1

    await _each(
        lambda limit: runtime.metadata.resumables.aging(opened_before_s=half_s, limit=limit),
        look,
        runtime.settings.sweep.batch,
        report,
        name=lambda upload: upload.ref.id,
    )


async def _look_again(runtime: Runtime, report: SweepReport) -> None:
    """Requests of a dead owner that the store carried out late: each key is looked at once more.

    A resumable upload is remembered for longer: whoever comes back to it is told that it is gone.
    """
    ledger = runtime.metadata.uploads

    async def look(upload: Upload) -> None:
        if upload.state is UploadState.UNDONE:
            await remove_blobs(runtime, upload.keys)
            if upload.intent.resumable is not None and upload.looks == 0:
                kept_s = runtime.settings.uploads.idempotency_ttl_s
                await ledger.cleaned(upload.ref.id, look_again_s=kept_s)
            else:
                await ledger.forget(upload.ref.id)
            return
        await remove_blobs(runtime, upload.leftovers)
        again = runtime.settings.uploads.tombstone_s if upload.looks == 0 else None
        await ledger.cleaned(upload.ref.id, look_again_s=again)

    await _each(
        lambda limit: ledger.due(limit=limit),
        look,
        runtime.settings.sweep.batch,
        report,
        name=lambda upload: upload.ref.id,
    )


async def _delete_dead(runtime: Runtime, report: SweepReport) -> None:
    versions, grace_s = runtime.metadata.versions, runtime.settings.sweep.grace_s

    async def remove(version: Version) -> None:
        await runtime.blobs.delete(version.blob_key)
        if await runtime.blobs.head(version.blob_key) is not None:
            raise StoreUnavailable("a deleted blob is still there")
        await versions.forget_dead(version.id)
        report.blobs_deleted += 1

    await _each(
        lambda limit: versions.dead(older_than_s=grace_s, limit=limit),
        remove,
        runtime.settings.sweep.batch,
        report,
        name=lambda version: version.id,
    )


async def _forget(runtime: Runtime) -> None:
    settings, batch = runtime.settings, runtime.settings.sweep.batch
    while await runtime.metadata.versions.forget_tombstones(
        older_than_s=settings.sweep.grace_s, limit=batch
    ):
        pass
    while await runtime.metadata.uploads.forget_committed(
        older_than_s=settings.uploads.idempotency_ttl_s, limit=batch
    ):
        pass


async def _each(
    find: Callable[[int], Awaitable[Sequence[T]]],
    handle: Callable[[T], Awaitable[None]],
    batch: int,
    report: SweepReport,
    *,
    name: Callable[[T], str],
) -> None:
    """Handle everything that `find` finds, a few at once; what was handled is not found again.

    What fails or is lost to another sweeper is left to the next pass.
    """
    left: set[str] = set()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def guarded(item: T) -> None:
        async with gate:
            try:
                await handle(item)
            except Fenced:
                left.add(name(item))
                log.debug("sweep_lost_race", item=name(item))
            except MediagateError as error:
                left.add(name(item))
                report.failed += 1
                log.warning("sweep_failed", item=name(item), reason=error.code)
            except Exception:
                left.add(name(item))
                report.failed += 1
                log.exception("sweep_failed", item=name(item))

    while True:
        found = await find(batch + len(left))
        fresh = [item for item in found if name(item) not in left]
        if not fresh:
            return
        async with asyncio.TaskGroup() as group:
            for item in fresh:
                group.create_task(guarded(item))
