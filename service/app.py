"""The composition root: settings -> stores -> runtime -> application.

Everything that lives as long as the process is made and ended here, in cleanup contexts, in reverse
order at the end: workers are cancelled, commits and undos under way are waited for, stores closed.
None of it waits without end, whatever a store does: `Grace` is shared by all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog
from aiohttp import web

from service.settings import Settings
from service.stores.breaker import Breakers
from service.stores.engines import open_metadata
from service.stores.s3.blob_store import open_blob_store
from service.stores.wrappers import (
    metered_blobs,
    metered_metadata,
    watched_blobs,
    watched_metadata,
)
from service.telemetry.metrics import Metrics
from service.telemetry.pulse import keep_time
from service.usecases.authenticate import Authenticator
from service.usecases.byte_budget import ByteBudget
from service.usecases.grace import Grace
from service.usecases.readiness import Readiness
from service.usecases.runtime import Runtime
from service.usecases.tasks import UNWIND_S, Tasks
from service.web.body import close_unread
from service.web.cors import allow_origin, answer_preflight
from service.web.json import MAX_BODY_BYTES
from service.web.middleware import observe, stamp, tell_problems
from service.web.reference import REFERENCE, Reference
from service.web.resumable.stamp import stamp_protocol
from service.web.route import Route
from service.web.routes import ROUTES, add_routes
from service.web.state import ABILITIES, AUTHENTICATOR, READINESS, RUNTIME
from service.workers.auditor import run_auditor
from service.workers.jobs import run_jobs
from service.workers.publisher import run_publisher
from service.workers.scrubber import run_scrubber
from service.workers.sweeper import run_sweeper
from service.workers.watcher import watch_stores

log = structlog.get_logger()
_WORKERS_UNTIL, _TASKS_UNTIL, _STORES_UNTIL = 0.8, 0.87, 0.92
"""Shares of `http.shutdown_grace_s`; before them come the requests (web/server.py). What is left is
for the event loop and its threads to end."""

Opener = Callable[[Settings], AbstractAsyncContextManager[Runtime]]


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, rebuilding: bool = False, checking: bool = False
) -> AsyncIterator[Runtime]:
    """Stores that answer, with their bucket and indexes; closed at the end, tasks first.

    checking: for a service, which lives long enough for a look at what it is going to work on.
    Raises StoreUnavailable where a store does not answer, SchemaMismatch.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        grace = Grace(settings.http.shutdown_grace_s)
        metadata = open_metadata(settings.metadata)
        stack.push_async_callback(_close, "metadata", metadata.close, grace)
        await metadata.start(rebuilding=rebuilding, checking=checking)
        blobs = await open_blob_store(settings.s3)
        stack.push_async_callback(_close, "blobs", blobs.close, grace)
        await blobs.ensure_bucket()
        budget = ByteBudget(settings.limits.byte_budget_bytes)
        metrics.watch_budget(lambda: budget.used_bytes, budget.limit_bytes)
        breakers = Breakers()
        metrics.watch_breaker("blobs", lambda: breakers.blobs.is_open)
        metrics.watch_breaker("metadata", lambda: breakers.metadata.is_open)
        runtime = Runtime(
            settings=settings,
            blobs=watched_blobs(metered_blobs(blobs, metrics), breakers.blobs),
            metadata=watched_metadata(metered_metadata(metadata, metrics), breakers.metadata),
            budget=budget,
            tasks=Tasks(),
            metrics=metrics,
            breakers=breakers,
            grace=grace,
        )
        stack.push_async_callback(_drain, runtime)
        yield runtime


async def _drain(runtime: Runtime) -> None:
    cancelled = await runtime.tasks.drain(runtime.grace.left_s(_TASKS_UNTIL))
    if cancelled:
        log.warning("tasks_left_to_the_sweeper", count=cancelled)


async def _close(store: str, close: Callable[[], Awaitable[None]], grace: Grace) -> None:
    try:
        async with asyncio.timeout(grace.left_s(_STORES_UNTIL)):
            await close()
    except TimeoutError:
        log.warning("store_left_open", store=store)


_FOR_A_SERVICE = partial(open_runtime, checking=True)


def build_app(
    settings: Settings,
    opener: Opener = _FOR_A_SERVICE,
    routes: Iterable[Route] = ROUTES,
) -> web.Application:
    """The application, not started. opener: where its stores come from (tests bring fakes)."""
    app = web.Application(
        middlewares=[observe, tell_problems, answer_preflight], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(stamp)
    app.on_response_prepare.append(allow_origin)
    app.on_response_prepare.append(stamp_protocol)
    app.on_response_prepare.append(close_unread)
    table = tuple(routes)
    add_routes(app, table)
    app[REFERENCE] = Reference(table, settings.http.public_url)

    async def stores(app: web.Application) -> AsyncIterator[None]:
        async with opener(settings) as runtime:
            abilities = await runtime.blobs.probe()
            for problem in abilities.problems:
                log.error("store_unfit", problem=problem)
            app[RUNTIME] = runtime
            app[ABILITIES] = abilities
            app[AUTHENTICATOR] = Authenticator(runtime.metadata.keys, settings.auth)
            app[READINESS] = Readiness(
                runtime.blobs, runtime.metadata, abilities.problems, runtime.breakers
            )
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
        (True, run_jobs),
    ]
    workers = [
        asyncio.create_task(run(runtime), name=run.__name__) for enabled, run in loops if enabled
    ]
    workers.append(asyncio.create_task(watch_stores(app[READINESS]), name=watch_stores.__name__))
    yield
    await _end_workers(workers, runtime.grace)


async def _end_workers(workers: list[asyncio.Task[None]], grace: Grace) -> None:
    """Each may say its farewell (give back a lease, publish once more) while there is time."""
    for worker in workers:
        worker.cancel()
    _, late = await asyncio.wait(workers, timeout=grace.left_s(_WORKERS_UNTIL))
    for worker in late:
        log.warning("worker_cut_off", worker=worker.get_name())
        worker.cancel()
    if late:
        await asyncio.wait(late, timeout=UNWIND_S)
    for worker in workers:
        if worker.done() and not worker.cancelled():
            worker.result()
