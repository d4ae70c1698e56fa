"""The real application on stores in memory, a proxy in front of it that breaks, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.client import AsyncMediagate, Timeouts
from tests.client.breaking_proxy import Proxy, breaking_proxy
from tests.web.serving import ROOT_KEY, Service, make_settings, running

SHORT = Timeouts(connect_s=2, idle_s=2, request_s=5, patience_s=3)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running(make_settings()) as service:
        yield service


@pytest.fixture
async def proxy(service: Service) -> AsyncIterator[Proxy]:
    async with breaking_proxy(service.port) as proxy:
        yield proxy


@pytest.fixture
async def mediagate(proxy: Proxy) -> AsyncIterator[AsyncMediagate]:
    """A client with the root key, through the proxy, and a bucket `films`."""
    async with AsyncMediagate(proxy.url, ROOT_KEY, timeouts=SHORT) as mediagate:
        await mediagate.make_bucket("films")
        yield mediagate
