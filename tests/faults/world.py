"""One universe: both stores, a clock, what is on its way, what is watched after every effect."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from service.errors import MediagateError, OutcomeUnknown
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT, VersionId
from service.model.preconditions import Preconditions
from service.model.upload import Idempotency, Intent, MovedFrom, Upload, UploadRef
from service.settings import S3, Http, Limits, Settings, Sweep, Uploads
from service.usecases import leases
from service.usecases.copy_object import CopyRequest, Source, copy_object
from service.usecases.delete_bucket import delete_bucket
from service.usecases.delete_object import delete_object
from service.usecases.move_object import move_object
from service.usecases.put_object import PutRequest, put_object
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.fakes.replica import Tables
from tests.faults.history import History, Kind, Operation, Outcome
from tests.faults.process import Call, Fault, Killed, Process, tracked_task
from tests.faults.resuming import Resuming
from tests.faults.virtual_loop import VirtualLoop

BUCKET = "films"
PART_BYTES = 8
LEASE_S, TOMBSTONE_S, GRACE_S, IDEMPOTENCY_S = 30, 500, 2000, 20_000
TTL_S = 12_000
"""How long a resumable upload waits: for its client to come back after the first half of what
follows a fault, and not for the end of the second."""
MULTIPART_TTL_S = 2400
QUIET_ROUNDS = 12
NONE = Preconditions()

# Tiny parts make a multipart as cheap as a line of text; validation would refuse them.
SETTINGS = Settings.model_construct(
    http=Http(max_download_s=1),
    uploads=Uploads.model_construct(
        lease_s=LEASE_S,
        ttl_s=TTL_S,
        idempotency_ttl_s=IDEMPOTENCY_S,
        tombstone_s=TOMBSTONE_S,
        part_bytes=PART_BYTES,
        large_part_bytes=3 * PART_BYTES,
        parts_in_flight=3,
        copy_part_bytes=PART_BYTES,
    ),
    sweep=Sweep(grace_s=GRACE_S),
    limits=Limits.model_construct(
        byte_budget_bytes=3 * PART_BYTES, max_object_bytes=1 << 20, min_rate_bytes_s=0
    ),
    metadata=Settings.model_fields["metadata"].default,
    s3=S3(multipart_ttl_s=MULTIPART_TTL_S),
)


class World:
    """complete_again: the dialect of Complete. seed: how calls of several processes interleave."""

    settings = SETTINGS

    def __init__(self, *, complete_again: bool = False, seed: str | None = None) -> None:
        self.metadata = FakeMetadata()
        self.blobs = FakeBlobStore(complete_again=complete_again, min_part_bytes=PART_BYTES)
        self.history = History()
        self.late: list[Callable[[], Awaitable[None]]] = []
        self.violations: list[str] = []
        self.keeps_versions = False
        self.resuming = Resuming(self)
        self.step = 0
        self.racers: dict[str, Callable[[], Awaitable[None]]] = {}
        self._racing: list[asyncio.Task[None]] = []
        self._order = random.Random(seed) if seed else None
        self._loop = VirtualLoop(self.metadata.clock.advance)
        self._loop.set_task_factory(tracked_task)
        self._loop.set_exception_handler(self._unhandled)

    # -- running ------------------------------------------------------------------------------

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Tell a story in this world's time."""
        with patch.object(leases, "_boot_time_s", self.now_s):
            self._loop.run_until_complete(story)

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def now_s(self) -> float:
        return self.metadata.clock.now.timestamp()

    def pass_time(self, seconds: float) -> None:
        self.metadata.clock.advance(seconds)

    def store(self, port: str) -> Any:
        return {
            "blobs": self.blobs,
            "metadata": self.metadata,
            "versions": self.metadata.versions,
            "uploads": self.metadata.uploads,
            "resumables": self.metadata.resumables,
            "buckets": self.metadata.buckets,
        }[port]

    async def turn(self) -> None:
        """A call on its way: others go on meanwhile."""
        self.step += 1
        for _ in range(self._order.randrange(4) if self._order else 1):
            await asyncio.sleep(0)

    async def race(self, moment: str) -> None:
        """Let the rival run, to its end or side by side, if this is its moment.

        What is on its way while a rival comes and goes arrives then, before any sweeper.
        """
        rival = self.racers.pop(moment, None)
        if rival is None:
            return
        task = asyncio.get_running_loop().create_task(
            _awaited(rival), context=contextvars.Context()
        )
        self._racing.append(task)
        if self._order is None:
            await asyncio.wait([task])
            if moment == "after":
                await self.deliver_late()

    async def finish_races(self) -> None:
        """The rival whose moment never came runs now."""
        for moment in list(self.racers):
            await self.race(moment)
        for task in self._racing:
            await task

    async def deliver_late(self) -> None:
        """What was on its way arrives; nobody is left to hear the answer."""
        arriving, self.late = self.late, []
        for arrive in arriving:
            with suppress(MediagateError, KeyError):
                await arrive()

    # -- clients ------------------------------------------------------------------------------

    async def begin(self) -> None:
        await self.metadata.buckets.create(DEFAULT_TENANT, BUCKET, BucketSettings())

    async def keep_versions(self) -> None:
        """Before anything is there."""
        [bucket] = self.metadata.buckets.buckets.values()
        await self.metadata.buckets.update(
            DEFAULT_TENANT, bucket.id, BucketSettings(versioning=True), revision=bucket.revision
        )
        self.keeps_versions = True

    async def put(
        self,
        key: str,
        size_bytes: int = PART_BYTES,
        *,
        declared: bool = True,
        preconditions: Preconditions = NONE,
        idempotency: Idempotency | None = None,
        fault: Fault | None = None,
        content: bytes | None = None,
        body: Callable[[bytes], AsyncIterator[bytes]] | None = None,
    ) -> Process:
        process = Process(self, fault)
        unique = f"{len(self.history.operations)}:".encode()
        content = content or (unique * size_bytes)[:size_bytes]
        request = PutRequest(
            DEFAULT_TENANT,
            BUCKET,
            key,
            preconditions=preconditions,
            declared_size_bytes=len(content) if declared else None,
            idempotency=idempotency,
        )

        async def work(operation: Operation) -> None:
            result = await put_object(process.runtime, request, (body or chunked)(content))
            operation.version, operation.created = result.version, result.created
            operation.replayed = result.replayed

        return await self._asked(process, Kind.PUT, key, content, preconditions, work)

    async def delete(
        self,
        key: str,
        *,
        version: VersionId | None = None,
        preconditions: Preconditions = NONE,
        fault: Fault | None = None,
    ) -> Process:
        process = Process(self, fault)

        async def work(operation: Operation) -> None:
            operation.target = version
            operation.version = await delete_object(
                process.runtime, DEFAULT_TENANT, BUCKET, key, preconditions, version
            )

        return await self._asked(process, Kind.DELETE, key, b"", preconditions, work)

    async def copy(
        self,
        source: str,
        key: str,
        content: bytes,
        *,
        version: VersionId | None = None,
        fault: Fault | None = None,
    ) -> Process:
        """content: of the source, whose key no rival changes, or of that version."""
        process = Process(self, fault)
        wanted = Source(BUCKET, source, version)
        request = CopyRequest(DEFAULT_TENANT, wanted, BUCKET, key)

        async def work(operation: Operation) -> None:
            result = await copy_object(process.runtime, request)
            operation.version, operation.created = result.version, result.created

        return await self._asked(process, Kind.PUT, key, content, NONE, work)

    async def move(self, source: str, key: str, *, fault: Fault | None = None) -> Process:
        process = Process(self, fault)
        request = CopyRequest(DEFAULT_TENANT, Source(BUCKET, source), BUCKET, key)

        async def work(operation: Operation) -> None:
            result = await move_object(process.runtime, request)
            operation.version, operation.created = result.version, result.created

        return await self._asked(process, Kind.MOVE, key, b"", NONE, work)

    async def upload(
        self, key: str, pieces: Sequence[int], *, more: int = 0, fault: Fault | None = None
    ) -> Process:
        """A resumable upload, a request for each piece, until something goes wrong.

        more: how many bytes are left for the client to come back with.
        """
        process = Process(self, fault)
        unique, size_bytes = f"{len(self.history.operations)}:".encode(), sum(pieces) + more
        content = (unique * size_bytes)[:size_bytes]

        async def work(operation: Operation) -> None:
            await self.resuming.create(process, operation)
            await self.resuming.send(process, operation, pieces)
            if more:
                raise OutcomeUnknown("the client went away")

        return await self._asked(process, Kind.PUT, key, content, NONE, work)

    async def come_back(
        self, operation: Operation, *, fault: Fault | None = None, in_peace: bool = True
    ) -> Process:
        """The client of a resumable upload goes on with it, where it did not hear of its end."""
        process = Process(self, fault)
        process.operation = operation
        await process.run(self.resuming.go_on(process, operation, in_peace=in_peace))
        return process

    async def delete_bucket(self, *, fault: Fault | None = None) -> Process:
        process = Process(self, fault)

        async def work(operation: Operation) -> None:
            await delete_bucket(process.runtime, DEFAULT_TENANT, BUCKET)

        return await self._asked(process, Kind.DELETE_BUCKET, "", b"", NONE, work)

    async def sweep(self, *, fault: Fault | None = None) -> Process:
        process = Process(self, fault)

        async def work() -> None:
            process.swept = await sweep(process.runtime)

        await process.run(work())
        return process

    async def _asked(
        self,
        process: Process,
        kind: Kind,
        key: str,
        content: bytes,
        preconditions: Preconditions,
        work: Callable[[Operation], Awaitable[None]],
    ) -> Process:
        operation = self.history.begin(kind, key, content, preconditions, self.step)
        process.operation = operation

        async def request() -> None:
            try:
                await work(operation)
            except (OutcomeUnknown, asyncio.CancelledError, Killed) as error:
                self._told(operation, Outcome.UNKNOWN, error)
            except MediagateError as error:
                self._told(operation, self.resuming.outcome_of(operation, error), error)
            else:
                self._told(operation, Outcome.ACKNOWLEDGED, None)

        await process.run(request())
        self.leave(process)
        return process

    def _told(self, operation: Operation, outcome: Outcome, error: BaseException | None) -> None:
        operation.outcome = outcome
        operation.error = type(error).__name__ if error else ""
        operation.ended = operation.ended or self.step

    def leave(self, process: Process) -> None:
        """The client waits no longer."""
        if process.operation is not None and process.operation.ended is None:
            process.operation.ended = self.step

    # -- watching -----------------------------------------------------------------------------

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds and otherwise not in self.violations:
            self.violations.append(otherwise)

    @contextmanager
    def watched(self, call: Call) -> Iterator[None]:
        refs = [each.ref if isinstance(each, Upload) else each for each in call.args]
        ref = next((each for each in refs if isinstance(each, UploadRef)), None)
        entry = self.metadata.replica.writable().uploads.get(ref.id) if ref else None
        if call.process.operation is not None:
            self._note_maker(call, call.process.operation)
        try:
            yield
            if ref is not None:
                self.expect(
                    entry is not None and entry.ref == ref,
                    f"fencing: {call.effect} was done for an owner that had been taken over",
                )
        finally:
            # A move that is a copy may be committed, and its source deleted, by a sweeper.
            self._see(self.history.by_upload.get(ref.id) if ref else call.process.operation)

    def _note_maker(self, call: Call, operation: Operation) -> None:
        """Whose version a call is going to make, and of which bytes."""
        history = self.history
        for intent in call.args:
            if isinstance(intent, Intent):
                made = operation
                if intent.moved_from is not None:
                    made = replace(operation, content=self._content(intent.moved_from))
                history.by_upload[intent.id] = operation
                history.by_version[intent.version_id] = made
        if call.effect == "versions.hand_over":
            _, source, _, _, new_version, _ = call.args
            history.by_upload[new_version] = operation
            history.by_version[new_version] = replace(operation, content=self._content(source))

    def _content(self, source: MovedFrom) -> bytes:
        return self.history.by_version[source.version].content

    def _see(self, operation: Operation | None) -> None:
        replica = self.metadata.replica
        for event in replica.local.events:
            if event.type != "object.created" and operation is not None:
                self.history.by_event.setdefault(event.id, operation)
        self._see_versions(replica.local)
        if replica.majority is not replica.local:
            self._see_versions(replica.majority)

    def _see_versions(self, tables: Tables) -> None:
        """I2, I4: every version has its whole blob, dead ones until the grace is over."""
        for version in tables.versions.values():
            self.history.versions[version.id] = version
            died = tables.dead_since.get(version.id)
            if died is None or died + timedelta(seconds=GRACE_S) > self.metadata.clock.now:
                content = self.history.by_version[version.id].content
                self.expect(
                    self.blobs.blobs.get(version.blob_key) == content,
                    f"I4: a version of {version.key!r} lacks its bytes",
                )

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, (MediagateError, Killed, asyncio.CancelledError)):
            self.violations.append(f"an error that nobody expected: {error!r} {context}")


async def chunked(content: bytes) -> AsyncIterator[bytes]:
    for position in range(0, len(content), PART_BYTES):
        yield content[position : position + PART_BYTES]


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
