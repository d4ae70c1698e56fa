"""Random sequences of what clients, replicas, clocks and killers do to one resumable upload.

Held against a model of two numbers: the offset that was told last, and how many bytes were sent.
After each step the offset is exactly, or for a killed process at least, what it has to be; at the
end the rest is sent, and what is stored is what was sent, byte for byte.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from service.errors import (
    DigestMismatch,
    IncompleteBody,
    MediagateError,
    OffsetMismatch,
    UploadGone,
    UploadTakenOver,
)
from service.model.ids import DEFAULT_TENANT, UploadId
from service.model.resumable import ResumableTerms
from service.model.upload import UploadState
from service.usecases.resumable.append_request import AppendRequest
from service.usecases.resumable.append_to_upload import Appended, append_to_upload
from service.usecases.resumable.create_upload import CreateRequest, create_upload
from service.usecases.resumable.find import find_upload, settled_upload
from tests.faults.history import Kind
from tests.faults.invariants import nothing_leaks
from tests.faults.process import Fault, Mode, Process
from tests.faults.recovery import clean
from tests.faults.world import BUCKET, MULTIPART_TTL_S, NONE, PART_BYTES, TTL_S, World

LENGTH = 20 * PART_BYTES
CONTENT = bytes(range(LENGTH))
SIZE = st.integers(0, 4 * PART_BYTES)
STEPS = st.one_of(
    st.tuples(st.just("patch"), SIZE),
    st.tuples(st.just("cut"), SIZE),
    st.tuples(st.just("wrong"), st.integers(-9, 9).filter(bool)),
    st.tuples(st.just("checked"), SIZE),
    st.tuples(st.just("mismatch"), SIZE),
    st.tuples(st.just("overtaken"), SIZE),
    st.tuples(st.just("killed"), st.integers(1, 12)),
    st.tuples(st.just("age"), st.just(0)),
    st.tuples(st.just("sweep"), st.just(0)),
)


class Breaks:
    """A body that breaks off after its bytes."""

    def __init__(self, data: bytes, *, breaks: bool = False) -> None:
        self.data, self.breaks = data, breaks

    async def chunks(self) -> AsyncIterator[bytes]:
        for position in range(0, len(self.data), 3):
            yield self.data[position : position + 3]
        if self.breaks:
            raise IncompleteBody("the client went away")


class Model:
    def __init__(self, world: World, length: int | None) -> None:
        self.world = world
        self.length = length
        self.offset = 0
        self.id = UploadId("")

    async def begin(self) -> None:
        terms = ResumableTerms("who", BUCKET)
        request = CreateRequest(DEFAULT_TENANT, "k", terms, length_bytes=self.length)
        process = Process(self.world)
        process.operation = self.world.history.begin(Kind.PUT, "k", CONTENT, NONE, self.world.step)
        self.id = (await create_upload(process.runtime, request)).ref.id

    async def told(self) -> int:
        """What a HEAD tells, by a replica of its own."""
        runtime = Process(self.world).runtime
        found = await settled_upload(runtime, await find_upload(runtime, DEFAULT_TENANT, self.id))
        if found.state is UploadState.COMMITTED and found.completion is not None:
            return found.completion.size_bytes
        assert found.progress is not None
        return found.progress.offset

    async def append(
        self, data: bytes, process: Process | None = None, *, breaks: bool = False, **more: Any
    ) -> Appended:
        runtime = (process or Process(self.world)).runtime
        found = await find_upload(runtime, DEFAULT_TENANT, self.id)
        wanted = AppendRequest(self.offset, size_bytes=None if breaks else len(data), **more)
        body = Breaks(data, breaks=breaks).chunks()
        return await append_to_upload(runtime, found, wanted, body)

    def next(self, size: int) -> bytes:
        """Never the last byte: the end is the test's."""
        return CONTENT[self.offset : min(self.offset + size, LENGTH - 1)]

    async def patch(self, size: int) -> None:
        data = self.next(size)
        done = await self.append(data)
        assert done.offset == self.offset + len(data)
        self.offset = done.offset

    async def cut(self, size: int) -> None:
        data = self.next(size)
        with pytest.raises(IncompleteBody):
            await self.append(data, breaks=True)
        self.offset += len(data)

    async def wrong(self, by: int) -> None:
        right = self.offset
        self.offset = max(0, right + by)
        try:
            if self.offset != right:
                with pytest.raises(OffsetMismatch):
                    await self.append(b"x")
        finally:
            self.offset = right

    async def checked(self, size: int) -> None:
        data = self.next(size)
        digests = {"sha": hashlib.sha1(data).digest()}
        await self.append(data, expected_digests=digests)
        self.offset += len(data)

    async def mismatch(self, size: int) -> None:
        digests = {"sha": hashlib.sha1(b"another").digest()}
        with pytest.raises(DigestMismatch):
            await self.append(self.next(size), expected_digests=digests)

    async def overtaken(self, size: int) -> None:
        """A request hangs in the middle of its body; a newer one elsewhere goes on."""
        data, go_on, halfway = self.next(size), asyncio.Event(), asyncio.Event()

        async def hangs() -> AsyncIterator[bytes]:
            if data:
                yield data
            halfway.set()
            await go_on.wait()
            yield b"!"

        runtime = Process(self.world).runtime
        found = await find_upload(runtime, DEFAULT_TENANT, self.id)
        request = AppendRequest(self.offset, size_bytes=len(data) + 1)
        older = asyncio.ensure_future(append_to_upload(runtime, found, request, hangs()))
        await halfway.wait()
        before, self.offset = self.offset, await self.told()
        assert before <= self.offset <= before + len(data)
        await self.patch(1)
        go_on.set()
        with pytest.raises(UploadTakenOver):
            await older

    async def killed(self, number: int) -> None:
        """A process dies at one of its effects."""
        process, data = Process(self.world, Fault(Mode.AFTER, number)), self.next(3 * PART_BYTES)

        async def work() -> None:
            await self.append(data, process)

        await process.run(work())
        before, self.offset = self.offset, await self.told()
        assert before <= self.offset <= before + len(data)

    async def age(self, _: int) -> None:
        self.world.pass_time(MULTIPART_TTL_S / 2)
        await self.world.sweep()
        upload = self.world.metadata.uploads.uploads[self.id]
        if upload.progress is not None and upload.progress.span is not None:
            age = self.world.metadata.clock.now - upload.progress.span.opened_at
            assert age.total_seconds() < MULTIPART_TTL_S

    async def sweep(self, _: int) -> None:
        await self.world.sweep()


@pytest.mark.timeout(120)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(STEPS, max_size=9),
    st.sampled_from([LENGTH, None]),
    st.booleans(),
    st.sampled_from(["finish", "expire", "leave"]),
)
def test_whatever_happens_to_an_upload(
    steps: list[tuple[str, int]], length: int | None, again: bool, end: str
) -> None:
    world = World(complete_again=again)
    model = Model(world, length)

    async def story() -> None:
        await world.begin()
        await model.begin()
        for name, value in steps:
            note(f"{name} {value} at {model.offset}")
            await getattr(model, name)(value)
            assert await model.told() == model.offset
        if end == "finish":
            rest = CONTENT[model.offset :]
            done = await model.append(rest, length_bytes=LENGTH)
            assert done.committed is not None
            version = done.committed.version()
            assert world.blobs.blobs[version.blob_key] == CONTENT
            assert version.size_bytes == LENGTH
        elif end == "expire":
            world.pass_time(TTL_S + 1)
            with pytest.raises(UploadGone):
                await model.told()
            with pytest.raises(MediagateError):
                await model.append(b"x")
        world.pass_time(TTL_S + 1)
        await world.sweep()
        await clean(world)
        assert list(nothing_leaks(world)) == []
        assert len(world.blobs.blobs) == (end == "finish")

    try:
        world.run(story())
        assert world.violations == []
    finally:
        world.close()
