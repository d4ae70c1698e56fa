"""The scrubber in every replica, one cycle at a time among all of them."""

from __future__ import annotations

from functools import partial

from service.model.audit import Progress
from service.usecases.runtime import Runtime
from service.usecases.scrub import SCRUBBER, scrub
from service.workers.turns import take_turns


async def run_scrubber(runtime: Runtime) -> None:
    """Scrub every `scrub.interval_s` until cancelled; a restart goes on where it was."""

    def seen(progress: Progress) -> None:
        if progress.finished_at is not None:
            runtime.metrics.set_scrub(progress.finished_at)

    interval_s = runtime.settings.scrub.interval_s
    await take_turns(runtime, SCRUBBER, interval_s, partial(scrub, runtime), seen)
