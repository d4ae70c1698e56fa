"""While a store is silent, requests that need it are refused at once, and only those."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from service.stores.breaker import MAX_SILENT, Breaker
from service.usecases import readiness
from service.usecases.readiness import Readiness
from service.workers import watcher
from tests.web.serving import Service

OBJECT = "/v1/buckets/films/objects/a"


def silence(breaker: Breaker) -> None:
    for _ in range(MAX_SILENT):
        breaker.unanswered()


async def status_of(service: Service, method: str, path: str, **options: object) -> int:
    async with service.fetch(method, path, **options) as response:
        if response.status == 503:
            assert response.headers["Retry-After"] == "1"
            if method != "HEAD":
                assert (await response.json())["code"] == "store_unavailable"
        return int(response.status)


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody closes what a test opened."""
    monkeypatch.setattr(watcher, "INTERVAL_S", 3600.0)


@pytest.fixture
async def stored(service: Service, bucket: str) -> Service:
    assert await status_of(service, "PUT", OBJECT, data=b"old") == 201
    return service


async def test_without_blobs_bytes_are_refused_and_names_are_served(stored: Service) -> None:
    silence(stored.runtime.breakers.blobs)
    assert await status_of(stored, "PUT", OBJECT, data=b"new") == 503
    assert await status_of(stored, "POST", "/v1/buckets/films/objects", data={"a": "b"}) == 503
    assert await status_of(stored, "GET", OBJECT) == 503
    assert await status_of(stored, "HEAD", OBJECT) == 200
    assert await status_of(stored, "GET", "/v1/buckets/films/objects") == 200
    assert await status_of(stored, "GET", "/v1/buckets/films/metadata/a") == 200
    assert await status_of(stored, "DELETE", OBJECT) == 204
    text = stored.runtime.metrics.render().decode()
    assert 'mediagate_requests_shed_total{store="blobs"} 3.0' in text


async def test_without_metadata_everything_with_a_key_is_refused(stored: Service) -> None:
    silence(stored.runtime.breakers.metadata)
    for method, path in [("GET", OBJECT), ("HEAD", OBJECT), ("DELETE", OBJECT)]:
        assert await status_of(stored, method, path) == 503
    assert await status_of(stored, "GET", "/v1/buckets") == 503
    assert await status_of(stored, "GET", "/healthz") == 200
    assert await status_of(stored, "GET", "/metrics") == 200


async def test_an_upload_that_is_shed_leaves_nothing_and_comes_before_its_body(
    stored: Service,
) -> None:
    silence(stored.runtime.breakers.blobs)
    uploads, blobs = dict(await stored.metadata.uploads.count()), len(stored.blobs.blobs)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.02)

    began = time.monotonic()
    named = {"Idempotency-Key": "once"}
    assert await status_of(stored, "PUT", OBJECT, data=endless(), headers=named) == 503
    assert time.monotonic() - began < 1
    assert dict(await stored.metadata.uploads.count()) == uploads
    assert len(stored.blobs.blobs) == blobs
    stored.runtime.breakers.blobs.answered()
    assert await status_of(stored, "PUT", OBJECT, data=b"new", headers=named) == 200


async def test_an_upload_under_way_goes_on_while_new_ones_are_shed(stored: Service) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"first"
        begun.set()
        await go_on.wait()
        yield b"last"

    under_way = asyncio.create_task(status_of(stored, "PUT", OBJECT, data=halting()))
    await begun.wait()
    await asyncio.sleep(0.1)
    for breaker in (stored.runtime.breakers.blobs, stored.runtime.breakers.metadata):
        silence(breaker)
    assert await status_of(stored, "PUT", OBJECT, data=b"late") == 503
    go_on.set()
    assert await under_way == 200


async def test_readiness_says_so_at_once(stored: Service) -> None:
    assert await status_of(stored, "GET", "/readyz") == 200
    silence(stored.runtime.breakers.blobs)
    async with stored.fetch("GET", "/readyz") as response:
        assert response.status == 503
        assert (await response.json())["problems"] == ["blob store: new requests are refused"]
    stored.runtime.breakers.blobs.answered()
    assert await status_of(stored, "GET", "/readyz") == 200


async def test_the_watcher_opens_it_without_a_request_and_sees_the_store_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    async def answers() -> None:
        breakers.blobs.answered()  # as the wrapper of the store tells it

    for module, name, seconds in [
        (readiness, "TIMEOUT_S", 0.01),
        (readiness, "CACHE_S", 0.0),
        (watcher, "INTERVAL_S", 0.01),
    ]:
        monkeypatch.setattr(module, name, seconds)
    breakers = service.runtime.breakers
    monkeypatch.setattr(service.blobs, "ping", hangs)
    ready = Readiness(service.blobs, service.metadata, breakers=breakers)
    watching = asyncio.create_task(watcher.watch_stores(ready))
    await asyncio.wait_for(_becomes(breakers.blobs, is_open=True), 5)
    assert not breakers.metadata.is_open
    watching.cancel()
    monkeypatch.setattr(service.blobs, "ping", answers)
    ready = Readiness(service.blobs, service.metadata, breakers=breakers)
    watching = asyncio.create_task(watcher.watch_stores(ready))
    await asyncio.wait_for(_becomes(breakers.blobs, is_open=False), 5)
    watching.cancel()


async def _becomes(breaker: Breaker, *, is_open: bool) -> None:
    while breaker.is_open is not is_open:
        await asyncio.sleep(0.005)
