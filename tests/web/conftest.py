"""A running service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.web.serving import Service, Start, make_settings, running


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running(make_settings()) as service:
        yield service


@pytest.fixture
def start() -> Start:
    """`async with start(http=Http(…)) as service`: a service with settings of its own."""
    return lambda *routes, **groups: running(make_settings(**groups), routes)


@pytest.fixture
async def bucket(service: Service) -> str:
    async with service.fetch("PUT", "/v1/buckets/films") as response:
        assert response.status == 201
    return "films"
