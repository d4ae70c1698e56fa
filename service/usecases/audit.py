"""One cycle of the auditor: all versions against all blobs, and what differs.

Both sides are walked in the order of blob keys, a bounded batch at a time, and merged. What the
merge finds are suspects only; `judge` decides by exact keys. Not judged at all is what is younger
than `audit.grace_s`, and dead versions: their blobs are about to go. Uploads in flight are never
reported, whatever their age, since the write ledger knows every key before it is used.

It changes nothing but its own notes: strays are noted in the quarantine (`quarantine.py`), and
deleted only on request, when they are found again after `audit.quarantine_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from service.model.audit import Claim, Drift, Finding, Progress, Stray
from service.model.blob import ListedBlob
from service.stores.blob_layout import PREFIX
from service.usecases.judge import judge_claims, judge_strays
from service.usecases.patience import patiently
from service.usecases.quarantine import delete_quarantined
from service.usecases.runtime import Runtime

AUDITOR = "auditor"
LOGGED_A_KIND = 100
"""More lines in a log help nobody; `mediagate audit` tells every finding."""
FOLDER = f"{PREFIX}/"
log = structlog.get_logger()


@dataclass(slots=True)
class AuditReport:
    """versions, blobs: how many were looked at; then the four kinds of drift.

    deleted: strays that were in quarantine for long enough. held_back: strays that were not even
    tried, because strays outnumber versions. failed: could not be deleted, left for the next cycle.
    """

    versions: int = 0
    blobs: int = 0
    missing_blob: int = 0
    stray_blob: int = 0
    size_or_digest_differs: int = 0
    open_multipart_without_entry: int = 0
    deleted: int = 0
    held_back: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def drift(self) -> dict[str, int]:
        return {kind.value: getattr(self, kind.value) for kind in Drift}

    def add(self, finding: Finding) -> int:
        """Count it; returns how many of its kind there are now."""
        count: int = getattr(self, finding.kind.value) + 1
        setattr(self, finding.kind.value, count)
        return count


def _untold(_finding: Finding) -> None:
    return


async def audit(
    runtime: Runtime, *, fix_strays: bool = False, tell: Callable[[Finding], None] = _untold
) -> AuditReport:
    """A whole cycle. tell: called with each finding.

    Raises StoreUnavailable where a store does not come back; the next cycle begins anew.
    """
    began_at = await runtime.metadata.now()
    cycle = _Cycle(runtime, began_at, tell)
    await cycle.compare()
    await cycle.look_for_multiparts()
    report = cycle.report
    await runtime.metadata.audits.release_unseen(began_at)
    if fix_strays:
        await _fix(runtime, report, began_at)
    finished_at = await runtime.metadata.now()
    done = Progress(began_at, finished_at, report.drift())
    await runtime.metadata.audits.save_progress(AUDITOR, done)
    runtime.metrics.set_audit(report.drift(), finished_at)
    log.info("audited", **report.as_dict())
    return report


async def _fix(runtime: Runtime, report: AuditReport, began_at: datetime) -> None:
    """Who lost the metadata must not lose the bytes as well: then almost all looks stray."""
    strays = report.stray_blob + report.open_multipart_without_entry
    if strays > report.versions:
        report.held_back = strays
        log.error("strays_outnumber_versions", strays=strays, versions=report.versions)
        return
    report.deleted, report.failed = await delete_quarantined(runtime, began_at)


class _Cycle:
    def __init__(
        self, runtime: Runtime, began_at: datetime, tell: Callable[[Finding], None]
    ) -> None:
        self.report = AuditReport()
        self._runtime = runtime
        self._batch = runtime.settings.audit.batch
        self._grace = timedelta(seconds=runtime.settings.audit.grace_s)
        self._judged_before = began_at - self._grace
        self._tell = tell

    async def compare(self) -> None:
        position: str | None = ""
        while position is not None:
            claims, blobs = await patiently(partial(self._pages, position))
            # Up to where both sides are known; a side that is not full is known to its end.
            ends = [page[-1] for page in (claims, blobs) if len(page) == self._batch]
            position = min(map(_key_of, ends), default=None)
            await self._merge(
                [claim for claim in claims if position is None or claim.blob_key <= position],
                [blob for blob in blobs if position is None or blob.key <= position],
            )

    async def _pages(self, after: str) -> tuple[list[Claim], list[ListedBlob]]:
        return await asyncio.gather(
            self._runtime.metadata.audits.claims(after=after, limit=self._batch),
            self._runtime.blobs.scan(FOLDER, after=after, limit=self._batch),
        )

    async def _merge(self, claims: list[Claim], blobs: list[ListedBlob]) -> None:
        self.report.versions += len(claims)
        self.report.blobs += len(blobs)
        by_key = {blob.key: blob for blob in blobs}
        suspects = [c for c in claims if self._is_suspect(c, by_key.get(c.blob_key))]
        claimed = {claim.blob_key for claim in claims}
        strange = [
            Stray(blob.key)
            for blob in blobs
            if blob.key not in claimed and blob.modified_at < self._judged_before
        ]
        self._note(await patiently(partial(judge_claims, self._runtime, suspects)))
        await self._note_strays(strange)

    def _is_suspect(self, claim: Claim, blob: ListedBlob | None) -> bool:
        if claim.dead or claim.created_at >= self._judged_before:
            return False
        if blob is None or blob.size_bytes != claim.size_bytes:
            return True
        # A blob is written before its version is made, and never again.
        return blob.modified_at > claim.created_at + self._grace

    async def look_for_multiparts(self) -> None:
        """Those that the store tells of, see `BlobStore.scan_multiparts`."""
        strange: list[Stray] = []
        async for multipart in self._runtime.blobs.scan_multiparts(FOLDER):
            if multipart.began_at < self._judged_before:
                strange.append(Stray(multipart.key, multipart.id))
            if len(strange) == self._batch:
                await self._note_strays(strange)
                strange = []
        await self._note_strays(strange)

    async def _note_strays(self, suspects: list[Stray]) -> None:
        found = await patiently(partial(judge_strays, self._runtime, suspects))
        strays = [Stray(finding.blob_key, finding.multipart_id) for finding in found]
        await self._runtime.metadata.audits.quarantine(strays)
        self._note(found)

    def _note(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if self.report.add(finding) <= LOGGED_A_KIND:
                version = finding.claim.version if finding.claim else None
                log.warning(
                    "drift_found", kind=finding.kind, blob_key=finding.blob_key, version=version
                )
            self._tell(finding)


def _key_of(entry: Claim | ListedBlob) -> str:
    return entry.blob_key if isinstance(entry, Claim) else entry.key
