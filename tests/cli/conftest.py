"""The application on fakes, for commands of its clients."""

import pytest

from tests.web.serving import make_settings, running


@pytest.fixture
async def service():
    """With a bucket `demo`."""
    async with running(make_settings()) as service:
        async with service.fetch("PUT", "/v1/buckets/demo") as answer:
            assert answer.status == 201
        yield service
