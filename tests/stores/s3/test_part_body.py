"""A body over chunks, as the driver uses it."""

from __future__ import annotations

import pytest

from service.stores.s3.part_body import PartBody


async def chunks_of(body: PartBody) -> list[bytes]:
    return [chunk async for chunk in body]


async def test_chunks_are_the_very_ones_given_each_time_anew() -> None:
    chunks = [b"a" * 70_000, b"b", b"c" * 9]
    body = PartBody(chunks)
    assert len(body) == 70_010
    for sends in (1, 2):
        assert all(got is given for got, given in zip(await chunks_of(body), chunks, strict=True))
        assert body.sends == sends
        assert body.seek(0) == body.tell() == 0


async def test_released_body_keeps_its_length_and_nothing_else() -> None:
    body = PartBody([b"abc"])
    hanging = aiter(body)
    assert await anext(hanging) == b"abc"
    body.release()
    assert len(body) == 3
    assert bool(body)
    assert await chunks_of(body) == []


def test_what_nobody_should_do_is_refused() -> None:
    with pytest.raises(ValueError):
        PartBody([b"abc"]).seek(1)
    with pytest.raises(TypeError):
        PartBody([b"abc"]).read()
