"""What every test may use: real servers, settings of its own, and two guards that are always on.

The guards: a blocking call of the service inside an event loop is an error, and so is a connection
to anything but this machine.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from pydantic import SecretStr

from service.devstack import S3Kind, Stack, running_stack
from service.devstack.servers import find_binary
from service.settings import S3, Http, Metadata, Settings, Telemetry
from service.telemetry.logging import configure_logging

SERVER_FIXTURES = ("devstack", "minio_stack")
SERVER_START_TIMEOUT_S = 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that starts the servers, and the one that stops them, get the time for it."""
    for fixture in SERVER_FIXTURES:
        users = [item for item in items if fixture in getattr(item, "fixturenames", ())]
        for item in {users[0], users[-1]} if users else ():
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SERVER_START_TIMEOUT_S))


@pytest.fixture(scope="session", autouse=True)
def _logs_as_in_production() -> None:
    """The library's default renders tracebacks in colour, and reads files to do so."""
    configure_logging(Telemetry(log_format="json"))


@pytest.fixture(scope="session")
def devstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """SeaweedFS and SecantusDB, for the whole session."""
    yield from _started(tmp_path_factory.mktemp("devstack"), "seaweedfs", "mongo")


@pytest.fixture(scope="session")
def minio_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """MinIO and SQLite; skipped without a `minio` binary, unless this is CI."""
    require_minio()
    yield from _started(tmp_path_factory.mktemp("minio-stack"), "minio", "sqlite")


def require_minio() -> None:
    if find_binary("minio") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must provide a `minio` binary (make minio)")
        pytest.skip("there is no `minio` binary (make minio)")


def _started(data: Path, s3: S3Kind, metadata: str) -> Iterator[Stack]:
    # The data goes with the session, so the servers may be killed.
    with running_stack(data, s3, metadata, in_memory=True, stop_grace_s=3) as stack:
        yield stack
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_bucket() -> str:
    """The name of the session's S3 bucket; one for all tests, as SeaweedFS needs 1 s for each."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def settings(devstack: Stack, s3_bucket: str) -> Settings:
    """For the session's servers, with a database of its own and any free port."""
    return settings_for(devstack, s3_bucket)


def settings_for(stack: Stack, s3_bucket: str, **groups: Any) -> Settings:
    """Settings for a stack and a fresh database; `groups` replaces whole groups."""
    defaults: dict[str, Any] = {
        "http": Http(port=0),
        "s3": S3(
            endpoint=stack.s3_endpoint,
            access_key=stack.access_key,
            secret_key=SecretStr(stack.secret_key),
            bucket=s3_bucket,
        ),
        "metadata": Metadata(
            url=SecretStr(stack.metadata_url), database=f"test_{secrets.token_hex(6)}"
        ),
    }
    return Settings(**(defaults | groups))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """The environment of whoever runs the tests does not reach the settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("MEDIAGATE_") and not name.startswith("MEDIAGATE_TEST_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> Iterator[None]:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            pytest.fail(f"a test tried to connect to {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


@pytest.fixture(scope="session", autouse=True)
def _blocking_calls_are_errors(_only_loopback: None) -> Iterator[None]:
    """A file, a sleep or a lock on the event loop, with any frame of ours on the stack.

    The embedded stack has no event loop and may block.
    """
    buster = BlockBuster(scanned_modules=["service"], excluded_modules=["service.devstack"])
    for function in buster.functions.values():
        # At start only, before anything is served: the TOML file, and the driver's API models.
        function.can_block_in("service/settings.py", {"__call__"})
        function.can_block_in("service/stores/s3/clients.py", {"open_clients"})
        function.can_block_in("service/stores/s3/depot.py", {"open_s3_depot"})
        function.can_block_in("service/stores/mongo/driver.py", {"connect"})
        function.can_block_in("service/client/blocking.py", {"run"})  # it is what it is for
    buster.activate()
    yield
    buster.deactivate()
