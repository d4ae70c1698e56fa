"""What a small request costs in calls to the stores, counted, so that none creeps in."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent

from service import app as composition
from service.app import build_app
from service.devstack import Stack
from service.settings import S3, Auth, Http, Journal, Settings, Sweep
from service.stores.mongo.metadata import MongoMetadata
from service.web.server import Runner
from tests.conftest import settings_for
from tests.faults.chaos import ChaosProxy, chaos_proxy
from tests.web.serving import ROOT_KEY

BODY = b"x" * 16_384
OBJECT = "/v1/buckets/small/objects/one"


class Commands(CommandListener):
    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def started(self, event: CommandStartedEvent) -> None:
        self.sent[event.command_name] += 1

    def succeeded(self, _: object) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None:
        raise AssertionError(event)


class Counted:
    """A service whose calls to both stores are counted from the last `forget` on."""

    def __init__(self, http: ClientSession, s3: ChaosProxy, commands: Commands) -> None:
        self.http = http
        self._s3 = s3
        self._commands = commands

    def forget(self) -> None:
        self._s3.requests.clear()
        self._commands.sent.clear()

    @property
    def s3_requests(self) -> int:
        return sum(self._s3.requests.values())

    @property
    def commands(self) -> dict[str, int]:
        return dict(self._commands.sent)


@pytest.fixture
async def counted(
    devstack: Stack, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counted]:
    commands = Commands()
    monkeypatch.setattr(
        composition, "open_metadata", lambda chosen: MongoMetadata(chosen, [commands])
    )
    async with chaos_proxy(int(devstack.s3_endpoint.rpartition(":")[2])) as s3:
        plain = settings_for(devstack, s3_bucket)
        quiet = {
            "http": Http(port=0),
            "auth": Auth(root_key=ROOT_KEY),
            "sweep": Sweep(enabled=False),
            "journal": Journal(enabled=False),
            "s3": S3(**(plain.s3.model_dump() | {"endpoint": s3.url})),
        }
        async with _serving(settings_for(devstack, s3_bucket, **quiet)) as http:
            async with http.put("/v1/buckets/small") as made:
                assert made.status == 201
            yield Counted(http, s3, commands)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[ClientSession]:
    runner = Runner(build_app(settings), settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        authorized = {"Authorization": f"Bearer {ROOT_KEY}"}
        async with ClientSession(site.name, headers=authorized) as http:
            yield http
    finally:
        await runner.cleanup()


async def test_a_small_put_is_one_s3_request_and_eight_commands(counted: Counted) -> None:
    """The bucket; the intent; and in the transaction what the key names, the bucket, the upload's
    step, the version, the event, the commit. An overwrite ends the old version too."""
    async with counted.http.put(OBJECT, data=BODY) as first:
        assert first.status == 201
    counted.forget()
    async with counted.http.put("/v1/buckets/small/objects/two", data=BODY) as made:
        assert made.status == 201
    assert counted.s3_requests == 1
    new = {"find": 3, "findAndModify": 2, "insert": 2, "commitTransaction": 1}
    assert counted.commands == new
    counted.forget()
    async with counted.http.put(OBJECT, data=BODY) as overwritten:
        assert overwritten.status == 200
    assert counted.s3_requests == 1
    assert counted.commands == new | {"update": 1}


async def test_a_get_is_one_s3_request_and_one_command(counted: Counted) -> None:
    async with counted.http.put(OBJECT, data=BODY) as made:
        assert made.status == 201
    async with counted.http.get(OBJECT) as first:
        assert await first.read() == BODY
    counted.forget()
    for _ in range(5):
        async with counted.http.get(OBJECT) as response:
            assert await response.read() == BODY
    assert counted.s3_requests == 5
    assert counted.commands["find"] <= 6  # the bucket is read again when a second has passed
    assert set(counted.commands) == {"find"}
