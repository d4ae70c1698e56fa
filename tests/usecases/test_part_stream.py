"""Clients that are slower than the budget can afford."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import SlowClient
from service.settings import MIB
from service.usecases import part_stream
from service.usecases.byte_budget import ByteBudget
from service.usecases.part_stream import FilledPart, PartStream

RATE = 64 << 10


@pytest.fixture(autouse=True)
def _fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_stream, "RATE_WINDOW_S", 0.3)
    monkeypatch.setattr(part_stream, "LOOK_S", 0.05)


async def dripping(chunk: bytes, pause_s: float) -> AsyncIterator[bytes]:
    yield bytes(300_000)
    while True:
        await asyncio.sleep(pause_s)
        yield chunk


def stream_of(body: AsyncIterator[bytes], budget: ByteBudget) -> PartStream:
    return PartStream(
        body,
        budget,
        lambda _number: MIB,
        declared_size_bytes=None,
        max_bytes=100 * MIB,
        min_rate_bytes_s=RATE,
    )


async def next_part(body: AsyncIterator[bytes], budget: ByteBudget) -> FilledPart:
    async with asyncio.timeout(5):
        return await stream_of(body, budget).next_part()


@pytest.mark.parametrize(
    "body", [dripping(b"", 60), dripping(bytes(10), 0.01)], ids=["silent", "crumbs"]
)
async def test_client_slower_than_the_least_rate_yields_when_others_wait(
    body: AsyncIterator[bytes],
) -> None:
    budget = ByteBudget(2 * MIB)
    other = budget.lane(2 * MIB)
    slow = asyncio.create_task(next_part(body, budget))
    await asyncio.sleep(0.02)
    waiting = asyncio.create_task(other.reserve(2 * MIB))
    with pytest.raises(SlowClient):
        await slow
    await waiting
    other.release()
    assert budget.used_bytes == 0


async def test_slow_client_is_left_alone_while_nobody_waits() -> None:
    budget = ByteBudget(2 * MIB)
    slow = asyncio.create_task(next_part(dripping(b"", 60), budget))
    await asyncio.sleep(0.6)
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert budget.used_bytes == 0


async def test_timeout_of_the_body_itself_is_not_taken_for_a_slow_client() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await next_part(broken(), ByteBudget(2 * MIB))
