"""One cycle of the scrubber: read every blob back and hold its CRC64NVME against its version's.

At `scrub.rate_bytes_s`, in slices, so that no connection waits for the rate; where it was is noted
every few seconds, in mid-blob too, so a restart goes on from there. A blob counts as damaged when
two whole readings of it differ from its version, when its size does, or when the store cannot read
it while it reads others: that is how MinIO (a body that breaks off) and SeaweedFS (no answer) tell
of a byte that went wrong on their disks. The event goes with the mark, and a version whose blob is
whole again loses the mark. Nothing is deleted: damaged bytes may be all that is left.

A blob that is not there at all is counted, not marked: that is the auditor's finding, and a service
that looks at the wrong bucket must not mark everything.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

import structlog

from service.errors import BlobMissing, StoreUnavailable
from service.model.audit import Claim, Progress
from service.usecases.digests import crc64nvme
from service.usecases.judge import live_claims
from service.usecases.pace import Pace
from service.usecases.patience import patiently
from service.usecases.runtime import Runtime

SCRUBBER = "scrubber"
SLICE_BYTES = 8 << 20
SAVE_EVERY_S = 5.0
LEAST_BYTES = 64 << 10
"""What a blob counts for the rate at least: a small one costs requests, not bytes."""
_PAGE, _OTHERS = 100, 4
log = structlog.get_logger()


class Verdict(StrEnum):
    WHOLE = "whole"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    MISSING = "missing"


@dataclass(slots=True)
class ScrubReport:
    """Of the whole cycle, also of what was done before a restart. size_bytes: read of them.

    damaged: marked, now or before, unreadable ones too. repaired: whole again, their mark gone.
    """

    blobs: int = 0
    size_bytes: int = 0
    damaged: int = 0
    repaired: int = 0
    missing: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


async def scrub(runtime: Runtime, *, from_start: bool = False) -> ScrubReport:
    """From where the last call stopped to the end of the cycle; a new cycle where that ended.

    Raises StoreUnavailable where a store does not come back.
    """
    known = Progress() if from_start else await runtime.metadata.audits.progress(SCRUBBER)
    if known.began_at is None or known.finished_at is not None:
        known = Progress(began_at=await runtime.metadata.now())
    cycle = _Cycle(runtime, known)
    await cycle.run()
    log.info("scrubbed", **cycle.report.as_dict())
    return cycle.report


class _Cycle:
    def __init__(self, runtime: Runtime, progress: Progress) -> None:
        self.report = ScrubReport(**progress.counts)
        self._runtime = runtime
        self._audits = runtime.metadata.audits
        self._progress = progress
        self._saved_at = time.monotonic()
        self._pace = Pace(runtime.settings.scrub.rate_bytes_s)
        self._read_well: Claim | None = None

    async def run(self) -> None:
        while True:
            after = self._progress.position
            claims = await self._audits.claims(after=after, limit=_PAGE)
            if not claims:
                break
            for claim in claims:
                if not claim.dead:
                    await self._settle(claim, await self._verdict(claim))
                began_at = self._progress.began_at
                self._progress = Progress(began_at, position=claim.blob_key)
                await self._save_sometimes()
        finished_at = await self._runtime.metadata.now()
        self._progress = Progress(self._progress.began_at, finished_at)
        await self._save()
        self._runtime.metrics.set_scrub(finished_at)

    async def _settle(self, claim: Claim, verdict: Verdict) -> None:
        """Count, mark and tell, unless the version was replaced or deleted meanwhile."""
        if verdict is not Verdict.WHOLE and claim.version not in await live_claims(
            self._runtime, [claim.blob_key]
        ):
            return
        self.report.blobs += 1
        self._runtime.metrics.scrubbed(verdict.value)
        about = {"blob_key": claim.blob_key, "version": claim.version, "tenant": claim.tenant}
        if verdict is Verdict.MISSING:
            self.report.missing += 1
            log.error("blob_missing", **about)
        elif verdict is not Verdict.WHOLE:
            self.report.damaged += 1
            await self._audits.mark_damaged(claim.version, damaged=True)
            log.error("blob_damaged", verdict=verdict.value, **about)
        elif claim.damaged:
            self.report.repaired += await self._audits.mark_damaged(claim.version, damaged=False)
            log.info("blob_repaired", **about)

    async def _verdict(self, claim: Claim) -> Verdict:
        try:
            facts = await patiently(lambda: self._runtime.blobs.head(claim.blob_key))
            if facts is None:
                return Verdict.MISSING
            if facts.size_bytes != claim.size_bytes:
                return Verdict.DAMAGED
            if await self._crc_of(claim) == claim.crc64nvme:
                self._read_well = claim
                return Verdict.WHOLE
            self._progress = replace(self._progress, reading=None)
            whole = await self._crc_of(claim) == claim.crc64nvme
        except BlobMissing:
            return Verdict.MISSING
        except StoreUnavailable:
            if not await self._others_can_be_read(claim):
                raise
            return Verdict.UNREADABLE
        return Verdict.WHOLE if whole else Verdict.DAMAGED

    async def _crc_of(self, claim: Claim) -> bytes:
        """Of the bytes as the store gives them now, from where an earlier process stopped."""
        if self._progress.reading != claim.blob_key:
            self._progress = replace(
                self._progress, reading=claim.blob_key, offset=0, crc64nvme=bytes(8)
            )
        while self._progress.offset < claim.size_bytes:
            self._progress = await patiently(lambda: self._read_slice(claim, self._progress))
            await self._save_sometimes()
        if claim.size_bytes < LEAST_BYTES:
            await self._pace.spend(LEAST_BYTES - claim.size_bytes)
        return self._progress.crc64nvme

    async def _read_slice(self, claim: Claim, at: Progress) -> Progress:
        end = min(at.offset + SLICE_BYTES, claim.size_bytes)
        crc = int.from_bytes(at.crc64nvme, "big")
        async with self._runtime.blobs.read(claim.blob_key, at.offset, end) as chunks:
            async for chunk in chunks:
                crc = crc64nvme(chunk, crc)
        size_bytes = end - at.offset
        self.report.size_bytes += size_bytes
        self._runtime.metrics.scrubbed_bytes.inc(size_bytes)
        await self._pace.spend(size_bytes)
        return replace(at, offset=end, crc64nvme=crc.to_bytes(8, "big"))

    async def _others_can_be_read(self, besides: Claim) -> bool:
        """Whether it is this blob that the store cannot read, or the store that does not read."""
        others = [] if self._read_well is None else [self._read_well]
        others += await self._audits.claims(after="", limit=_OTHERS)
        others += await self._audits.claims(after=besides.blob_key, limit=_OTHERS)
        for claim in others:
            if claim.dead or claim.size_bytes == 0 or claim.blob_key == besides.blob_key:
                continue
            try:
                async with self._runtime.blobs.read(claim.blob_key, 0, 1) as chunks:
                    return bool([chunk async for chunk in chunks])
            except (StoreUnavailable, BlobMissing):
                continue
        return False

    async def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            await self._save()

    async def _save(self) -> None:
        self._progress = replace(self._progress, counts=self.report.as_dict())
        await self._audits.save_progress(SCRUBBER, self._progress)
        self._saved_at = time.monotonic()
