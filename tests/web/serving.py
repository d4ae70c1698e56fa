"""The whole application on stores in memory, behind its real server on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, web

from service.app import build_app
from service.model.api_key import Scope
from service.model.ids import DEFAULT_TENANT
from service.settings import MIB, Auth, Http, Journal, Limits, Settings, Sweep
from service.telemetry.metrics import Metrics
from service.usecases.byte_budget import ByteBudget
from service.usecases.grace import Grace
from service.usecases.keys import NewKey, create_key
from service.usecases.runtime import Runtime
from service.usecases.tasks import Tasks
from service.web.route import Route
from service.web.routes import ROUTES
from service.web.server import Runner
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.web.conformance import Conformance

ROOT_KEY = "mg_root_for_the_tests"
ORIGIN = "https://app.example"


@dataclass
class Service:
    """A running service. fetch: like aiohttp's request, with the root key unless told otherwise."""

    url: str
    port: int
    app: web.Application
    runtime: Runtime
    blobs: FakeBlobStore
    metadata: FakeMetadata
    session: ClientSession

    def fetch(self, method: str, path: str, *, key: str | None = ROOT_KEY, **kwargs: Any) -> Any:
        headers = dict(kwargs.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        return self.session.request(method, self.url + path, headers=headers, **kwargs)

    async def make_key(self, *scopes: Scope, **limits: Any) -> str:
        wanted = NewKey("test", frozenset(scopes), **limits)
        return (await create_key(self.runtime, DEFAULT_TENANT, wanted))[1]


Start = Callable[..., AbstractAsyncContextManager[Service]]


def make_settings(**groups: Any) -> Settings:
    return Settings(
        **{
            "http": Http(cors_origins=(ORIGIN,), shutdown_grace_s=1),
            "limits": Limits(byte_budget_bytes=32 * MIB),
            "auth": Auth(root_key=ROOT_KEY),
            "sweep": Sweep(enabled=False),
            "journal": Journal(enabled=False),
            **groups,
        }
    )


@asynccontextmanager
async def running(
    settings: Settings,
    more_routes: tuple[Route, ...] = (),
    blobs: Any = None,
) -> AsyncIterator[Service]:
    """blobs: a store of bytes instead of one in memory."""
    blobs, metadata = blobs or FakeBlobStore(), FakeMetadata()
    runtime = Runtime(
        settings,
        blobs,
        metadata,
        ByteBudget(settings.limits.byte_budget_bytes),
        Tasks(),
        Metrics(),
        grace=Grace(settings.http.shutdown_grace_s),
    )

    @asynccontextmanager
    async def opener(_settings: Settings) -> AsyncIterator[Runtime]:
        yield runtime
        await runtime.tasks.drain(1)

    app = build_app(settings, opener, (*ROUTES, *more_routes))
    conformance = Conformance()
    app.on_response_prepare.append(conformance.look)
    runner = Runner(app, settings)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with ClientSession() as session:
            yield Service(site.name, site.port, app, runtime, blobs, metadata, session)
    finally:
        await runner.cleanup()
    assert not conformance.wrong, "\n".join(conformance.wrong)


async def exchange(port: int, sent: bytes, *, end: bool = False) -> bytes:
    """Raw bytes to the service, and all it answers until it closes the connection.

    end: close our side after `Connection: close` was read, as a client does.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if end:
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
