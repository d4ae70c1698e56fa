"""Every test here runs twice: on SeaweedFS with metadata in MongoDB, and on MinIO (where there is a
`minio` binary) with metadata in SQLite. So each meets both stores and both engines.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from service.devstack import Stack
from tests.e2e.installation import AUTHORIZED, Installation, Process, install
from tests.e2e.wreck import Wreck, make_wreck

_FIXTURES = {"seaweedfs": "devstack", "minio": "minio_stack"}
_TIMEOUT_S = 90
"""Each may be the one that starts or stops the servers, and spawns processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(
    scope="session", params=["seaweedfs", pytest.param("minio", marks=pytest.mark.minio)]
)
def stack(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue(_FIXTURES[request.param])
    return found


@pytest.fixture(scope="session")
def make_installation(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Installation]]:
    made: list[Installation] = []

    def make() -> Installation:
        made.append(install(stack, tmp_path_factory.mktemp("logs")))
        return made[-1]

    yield make
    for installation in made:
        installation.kill_all()


@pytest.fixture(scope="session")
def installation(make_installation: Callable[[], Installation]) -> Installation:
    """The one that most tests share."""
    return make_installation()


@pytest.fixture(scope="session")
def service(installation: Installation) -> Iterator[Process]:
    """Its one process; whatever the tests do to it, nothing unforeseen may stand in its log."""
    with installation.serving() as process:
        yield process
    assert process.popen.returncode == 0
    assert not process.events("request_failed")
    assert "Traceback" not in process.log.read_text()


@pytest.fixture
async def http(service: Process) -> AsyncIterator[ClientSession]:
    """With the administrator's key."""
    async with ClientSession(service.url, headers=AUTHORIZED, auto_decompress=False) as session:
        yield session


@pytest.fixture
async def bucket(http: ClientSession) -> str:
    """The path of a fresh bucket: `/v1/buckets/…`."""
    path = f"/v1/buckets/b-{secrets.token_hex(4)}"
    async with http.put(path) as response:
        assert response.status == 201
    return path


@pytest.fixture(scope="session")
async def wreck(make_installation: Callable[[], Installation]) -> Wreck:
    """Made once: what it leaves can be swept only a minute later (see `test_e2e_wreck`)."""
    return await make_wreck(make_installation())
