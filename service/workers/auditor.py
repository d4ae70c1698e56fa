"""The auditor in every replica, one cycle at a time among all of them."""

from __future__ import annotations

from service.model.audit import Progress
from service.usecases.audit import AUDITOR, AuditReport, audit
from service.usecases.runtime import Runtime
from service.workers.turns import take_turns


async def run_auditor(runtime: Runtime) -> None:
    """Audit every `audit.interval_s` until cancelled; `audit.fix_strays` says what it may do."""
    settings = runtime.settings.audit

    async def cycle() -> AuditReport:
        return await audit(runtime, fix_strays=settings.fix_strays)

    def seen(progress: Progress) -> None:
        if progress.finished_at is not None:
            runtime.metrics.set_audit(progress.counts, progress.finished_at)

    await take_turns(runtime, AUDITOR, settings.interval_s, cycle, seen)
