"""The real application on stores in memory, in a thread of its own, since fsspec's calls block."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from service.client.filesystem import MediagateFileSystem
from service.model.api_key import Scope
from tests.web.serving import ROOT_KEY, Service, make_settings, running


class Served:
    """A service in its own loop; `run` calls into it. reads: what the store was asked for."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.url = service.url
        self._loop = loop
        self.reads: list[tuple[int, int]] = []
        self._watch_reads()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def key(self, *scopes: str) -> str:
        return self.run(self.service.make_key(*map(Scope, scopes)))

    def _watch_reads(self) -> None:
        read = self.service.blobs.read

        def watched(key: Any, start: int, end: int) -> Any:
            self.reads.append((start, end))
            return read(key, start, end)

        self.service.blobs.read = watched


@contextmanager
def served(**groups: Any) -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="service")
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    context = running(make_settings(**groups))
    try:
        service = run(context.__aenter__())
        try:
            yield Served(service, loop)
        finally:
            run(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    """Without a log: thousands of requests."""
    logging.disable(logging.INFO)
    with served() as service:
        yield service
    logging.disable(logging.NOTSET)


@pytest.fixture
def connect(service: Served) -> Iterator[Callable[..., MediagateFileSystem]]:
    """File systems of their own, with the root key unless told otherwise."""
    made: list[MediagateFileSystem] = []

    def connect(**options: Any) -> MediagateFileSystem:
        options = {"endpoint_url": service.url, "key": ROOT_KEY, "patience_s": 3, **options}
        made.append(MediagateFileSystem(skip_instance_cache=True, **options))
        return made[-1]

    yield connect
    for fs in made:
        fs._session.close_now()


@pytest.fixture
def fs(connect: Callable[..., MediagateFileSystem]) -> MediagateFileSystem:
    return connect()


@pytest.fixture
def bucket(fs: MediagateFileSystem) -> str:
    name = f"b-{secrets.token_hex(4)}"
    fs.mkdir(name)
    return name
