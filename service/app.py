"""The composition root: settings -> stores -> runtime -> application.

Everything that lives as long as the process is made and ended here, in cleanup contexts, in reverse
order at the end: workers are cancelled, commits and undos under way are waited for, stores closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import structlog
from aiohttp import web

from service.settings import Settings
from service.stores.mongo.metadata import open_metadata
from service.stores.s3.blob_store import open_blob_store
from service.stores.wrappers import metered_blobs, metered_metadata
from service.telemetry.metrics import Metrics
from service.telemetry.pulse import keep_time
from service.usecases.authenticate import Authenticator
from service.usecases.byte_budget import ByteBudget
from service.usecases.readiness import Readiness
from service.usecases.runtime import Runtime
from service.usecases.tasks import Tasks
from service.web.body import close_unread
from service.web.cors import allow_origin, answer_preflight
from service.web.json import MAX_BODY_BYTES
from service.web.middleware import observe, stamp, tell_problems
from service.web.routes import ROUTES, Route, add_routes
from service.web.state import AUTHENTICATOR, READINESS, RUNTIME
from service.workers.auditor import run_auditor
from service.workers.publisher import run_publisher
from service.workers.scrubber import run_scrubber
from service.workers.sweeper import run_sweeper

log = structlog.get_logger()
_TASKS_SHARE = 0.15
"""Of `http.shutdown_grace_s`, for commits and undos; web/server.py has the rest."""

Opener = Callable[[Settings], AbstractAsyncContextManager[Runtime]]


@asynccontextmanager
async def open_runtime(settings: Settings, *, rebuilding: bool = False) -> AsyncIterator[Runtime]:
    """Stores that answer, with their bucket and indexes; closed at the end, tasks first.

    Raises StoreUnavailable where a store does not answer, SchemaMismatch.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        metadata = open_metadata(settings.metadata)
        stack.push_async_callback(metadata.close)
        await metadata.start(rebuilding=rebuilding)
        blobs = await open_blob_store(settings.s3)
        stack.push_async_callback(blobs.close)
        await blobs.ensure_bucket()
        budget = ByteBudget(settings.limits.byte_budget_bytes)
        metrics.watch_budget(lambda: budget.used_bytes, budget.limit_bytes)
        runtime = Runtime(
            settings=settings,
            blobs=metered_blobs(blobs, metrics),
            metadata=metered_metadata(metadata, metrics),
            budget=budget,
            tasks=Tasks(),
            metrics=metrics,
        )
        stack.push_async_callback(_drain, runtime)
        yield runtime


async def _drain(runtime: Runtime) -> None:
    grace_s = runtime.settings.http.shutdown_grace_s * _TASKS_SHARE
    cancelled = await runtime.tasks.drain(grace_s)
    if cancelled:
        log.warning("tasks_left_to_the_sweeper", count=cancelled)


def build_app(
    settings: Settings, opener: Opener = open_runtime, routes: Iterable[Route] = ROUTES
) -> web.Application:
    """The application, not started. opener: where its stores come from (tests bring fakes)."""
    app = web.Application(
        middlewares=[observe, tell_problems, answer_preflight], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(stamp)
    app.on_response_prepare.append(allow_origin)
    app.on_response_prepare.append(close_unread)
    add_routes(app, routes)

    async def stores(app: web.Application) -> AsyncIterator[None]:
        async with opener(settings) as runtime:
            abilities = await runtime.blobs.probe()
            for problem in abilities.problems:
                log.error("store_unfit", problem=problem)
            app[RUNTIME] = runtime
            app[AUTHENTICATOR] = Authenticator(runtime.metadata.keys, settings.auth)
            app[READINESS] = Readiness(runtime.blobs, runtime.metadata, abilities.problems)
            yield

    app.cleanup_ctx.append(stores)
    app.cleanup_ctx.append(_pulse)
    app.cleanup_ctx.append(_workers)
    return app


async def _pulse(app: web.Application) -> AsyncIterator[None]:
    beating = asyncio.create_task(keep_time(app[RUNTIME].metrics), name="pulse")
    yield
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


async def _workers(app: web.Application) -> AsyncIterator[None]:
    runtime = app[RUNTIME]
    settings = runtime.settings
    loops = [
        (settings.sweep.enabled, run_sweeper),
        (settings.audit.enabled, run_auditor),
        (settings.scrub.enabled, run_scrubber),
        (settings.journal.enabled, run_publisher),
    ]
    workers = [
        asyncio.create_task(run(runtime), name=run.__name__) for enabled, run in loops if enabled
    ]
    yield
    for worker in workers:
        worker.cancel()
    for worker in workers:
        with suppress(asyncio.CancelledError):
            await worker
