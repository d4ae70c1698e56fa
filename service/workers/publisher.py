"""The publisher runs in every replica; the lease and its epoch let one of them publish."""

from __future__ import annotations

import asyncio
import random
import secrets
import time

import structlog

from service.errors import BlobMissing, Fenced, JournalDamaged, MediagateError
from service.usecases.compact_journal import compact_journal
from service.usecases.publish_events import (
    Leadership,
    forget_published,
    observe_backlog,
    publish_events,
)
from service.usecases.runtime import Runtime

LEASE_INTERVALS = 2
FAREWELL_S = 2.0
log = structlog.get_logger()


async def run_publisher(runtime: Runtime) -> None:
    """Publish at least every `journal.interval_s` and compact beside it, until cancelled.

    What is pending then is published once more, and the lease given up.
    """
    ttl_s = LEASE_INTERVALS * runtime.settings.journal.interval_s
    leadership = Leadership(runtime.metadata.outbox, secrets.token_hex(8), ttl_s)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_publish_for_ever(runtime, leadership))
            group.create_task(_compact_for_ever(runtime, leadership))
    finally:
        await _farewell(runtime, leadership)


async def _publish_for_ever(runtime: Runtime, leadership: Leadership) -> None:
    interval_s = runtime.settings.journal.interval_s
    while True:
        began = time.monotonic()
        try:
            await publish_events(runtime, leadership)
        except Fenced:
            log.info("publisher_fenced")
        except MediagateError as error:
            log.warning("publisher_failed", reason=error.code, detail=error.detail)
        except Exception:
            log.exception("publisher_failed")
        await _observe(runtime)
        # Never later than the interval after the beginning of this round.
        pause_s = interval_s * random.uniform(0.6, 0.9)  # noqa: S311
        await asyncio.sleep(max(pause_s - (time.monotonic() - began), 0))


async def _observe(runtime: Runtime) -> None:
    try:
        await observe_backlog(runtime)
    except MediagateError as error:
        log.debug("backlog_unknown", reason=error.code)


async def _compact_for_ever(runtime: Runtime, leadership: Leadership) -> None:
    damaged: set[str] = set()
    while True:
        interval_s = runtime.settings.journal.compact_interval_s
        await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))  # noqa: S311
        try:
            publisher = await leadership.lead()
            if publisher is not None:
                await compact_journal(runtime, leadership, publisher, damaged)
                await forget_published(runtime)
        except (Fenced, BlobMissing, JournalDamaged) as error:
            log.info("compaction_given_up", reason=error.detail)
        except MediagateError as error:
            log.warning("compaction_failed", reason=error.code, detail=error.detail)
        except Exception:
            log.exception("compaction_failed")


async def _farewell(runtime: Runtime, leadership: Leadership) -> None:
    try:
        async with asyncio.timeout(FAREWELL_S):
            await publish_events(runtime, leadership)
            await runtime.metadata.outbox.step_down(leadership.owner)
    except (MediagateError, TimeoutError) as error:
        log.debug("publisher_left", reason=repr(error))
