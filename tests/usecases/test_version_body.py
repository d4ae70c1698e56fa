"""A body that the store's socket carries is resumed as one that is iterated."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from service.errors import SlowClient, StoreUnavailable
from service.stores.blob_port import RawBody
from service.usecases import get_object
from service.usecases.get_object import RESUMES, read_version
from service.usecases.runtime import Runtime
from tests.usecases.conftest import Put, some_bytes

SIZE = 10_000
DATA = some_bytes(SIZE)


class Lending:
    """The iterator of a read that lends its place in DATA, instead of a socket, so often."""

    def __init__(self, start: int, end: int, *, lends: bool) -> None:
        self._start, self._end, self._lends = start, end, lends

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._start == self._end:
            raise StopAsyncIteration
        at, self._start = self._start, min(self._start + 1000, self._end)
        return DATA[at : self._start]

    def detach(self) -> RawBody | None:
        if not self._lends:
            return None
        at, self._start = self._start, self._end
        head = deque([DATA[at : at + 10]])
        return RawBody(head, os.open("/dev/null", os.O_RDONLY), SIZE - at - 10, 1)


@pytest.fixture
def asked(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From where the store was read. All but the first three reads lend nothing."""
    found: list[int] = []

    @asynccontextmanager
    async def read(key: str, start: int, end: int) -> AsyncIterator[Lending]:
        found.append(start)
        yield Lending(start, end, lends=len(found) <= 3)

    monkeypatch.setattr(runtime.blobs, "read", read)
    monkeypatch.setattr(get_object, "_PAUSE_S", 0)
    return found


class Mover:
    """Passes `gives` bytes on of each body beside its head, then meets `error`."""

    def __init__(self, gives: int, error: Exception | None) -> None:
        self.sent, self.fds = bytearray(), []
        self._gives, self._error = gives, error

    async def __call__(self, raw: RawBody, moved: Callable[[int], None]) -> None:
        self.fds.append(raw.fd)
        head = b"".join(raw.head)
        at = SIZE - raw.size_bytes
        rest = DATA[at : at + self._gives] if self._error else DATA[at:]
        for piece in (head, rest):
            self.sent += piece
            moved(len(piece))
        if self._error:
            raise self._error


async def test_a_body_is_moved_whole_and_nothing_is_left_to_iterate(
    runtime: Runtime, put: Put, asked: list[int]
) -> None:
    version = (await put(DATA)).version
    mover = Mover(0, None)
    async with read_version(runtime, version, 5, SIZE) as body:
        await body.move(mover)
        assert [chunk async for chunk in body] == []
        assert body.position == SIZE
    assert (mover.sent, asked) == (DATA[5:], [5])


async def test_a_store_that_breaks_while_bytes_are_moved_is_resumed_where_they_ended(
    runtime: Runtime, put: Put, asked: list[int]
) -> None:
    version = (await put(DATA)).version
    mover = Mover(100, StoreUnavailable("gone"))
    async with read_version(runtime, version, 5, SIZE) as body:
        await body.move(mover)
        assert asked == [5, 115, 225, 335]
        left = [chunk async for chunk in body]
    assert mover.sent + b"".join(left) == DATA[5:]
    for fd in mover.fds:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


async def test_a_client_that_fails_while_bytes_are_moved_is_no_reason_to_read_again(
    runtime: Runtime, put: Put, asked: list[int]
) -> None:
    version = (await put(DATA)).version
    with pytest.raises(SlowClient):
        async with read_version(runtime, version, 0, SIZE) as body:
            await body.move(Mover(100, SlowClient("slow")))
    assert asked == [0]


async def test_a_store_that_gives_nothing_any_more_is_given_up(
    runtime: Runtime, put: Put, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = (await put(DATA)).version

    def broken(_: Lending) -> RawBody | None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(Lending, "detach", broken)
    async with read_version(runtime, version, 7, SIZE) as body:
        with pytest.raises(StoreUnavailable):
            await body.move(Mover(0, None))
    assert asked == [7] * (RESUMES + 1)
