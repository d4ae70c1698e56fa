"""The operations whose effects the matrix strikes, and the rivals that race them.

A story sets its scene, runs one operation in a process of its own, and may look once more when all
has settled. A new feature (quotas, resumable uploads) joins by adding stories here and checks in
invariants.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Idempotency
from tests.faults.history import Outcome
from tests.faults.invariants import made_by
from tests.faults.process import Fault, Mode, Process
from tests.faults.world import (
    GRACE_S,
    LEASE_S,
    MULTIPART_TTL_S,
    PART_BYTES,
    TOMBSTONE_S,
    World,
    chunked,
)

KEY = "a"
LARGE = 4 * PART_BYTES
"""Bytes of a multipart: two parts where the length is known, four where it is not."""
CREATE_ONLY = Preconditions(if_none_match=EntityTags(any=True))
RETRY = Idempotency("somebody", "once", 0, "the same")
CLOCKS_APART_S = 300
COMES_BACK = "client-comes-back"

Scene = Callable[[World], Awaitable[None]]
Run = Callable[[World, Fault | None], Awaitable[Process]]


async def _nothing(world: World) -> None:
    return


@dataclass(frozen=True)
class Story:
    """asked: a client waits for the answer, and may go away.
    heals: effects whose lost answer alone must not keep the request from its 2xx. resumes: its
    client may come back while it runs."""

    name: str
    run: Run
    scene: Scene = _nothing
    afterwards: Scene = _nothing
    asked: bool = True
    heals: frozenset[str] = frozenset()
    resumes: bool = False


async def _something_there(world: World) -> None:
    await world.put(KEY)


def _put(size_bytes: int = PART_BYTES - 1, *, declared: bool = True) -> Run:
    async def run(world: World, fault: Fault | None) -> Process:
        return await world.put(KEY, size_bytes, declared=declared, fault=fault)

    return run


async def _put_create_only(world: World, fault: Fault | None) -> Process:
    return await world.put(KEY, preconditions=CREATE_ONLY, fault=fault)


async def _put_if_match(world: World, fault: Fault | None) -> Process:
    version = world.history.operations[0].version
    assert version is not None
    tag = EntityTags((EntityTag(version.etag),))
    return await world.put(KEY, preconditions=Preconditions(if_match=tag), fault=fault)


async def _delete(world: World, fault: Fault | None) -> Process:
    return await world.delete(KEY, fault=fault)


# -- a bucket that keeps versions -------------------------------------------------------------


async def _kept_there(world: World) -> None:
    await world.keep_versions()
    await world.put(KEY)
    await world.put(KEY)


async def _three_kept(world: World) -> None:
    await _kept_there(world)
    await world.put(KEY)


async def _delete_latest(world: World, fault: Fault | None) -> Process:
    """For good: the one before it, not the oldest, is the latest then."""
    version = world.history.operations[2].version
    assert version is not None
    return await world.delete(KEY, version=version.id, fault=fault)


# -- copies and moves -------------------------------------------------------------------------

OTHER = "other"
"""A key that no rival changes."""


def _source(key: str, size_bytes: int = PART_BYTES, *, over: bool = False) -> Scene:
    """over: the other key names something too."""

    async def scene(world: World) -> None:
        await world.put(key, size_bytes)
        if over:
            await world.put(KEY if key == OTHER else OTHER)

    return scene


async def _kept_source(world: World) -> None:
    await world.keep_versions()
    await world.put(KEY)


async def _kept_large_source(world: World) -> None:
    await world.keep_versions()
    await world.put(KEY, 2 * PART_BYTES)


async def _copy(world: World, fault: Fault | None) -> Process:
    return await world.copy(OTHER, KEY, world.history.operations[0].content, fault=fault)


async def _restore(world: World, fault: Fault | None) -> Process:
    old = world.history.operations[0]
    assert old.version is not None
    return await world.copy(KEY, KEY, old.content, version=old.version.id, fault=fault)


async def _move_from(world: World, fault: Fault | None) -> Process:
    """Rivals change its source."""
    return await world.move(KEY, OTHER, fault=fault)


async def _move_to(world: World, fault: Fault | None) -> Process:
    """Rivals change its destination."""
    return await world.move(OTHER, KEY, fault=fault)


# -- a request that its client repeats --------------------------------------------------------


async def _put_once(world: World, fault: Fault | None) -> Process:
    return await world.put(KEY, idempotency=RETRY, content=b"the same", fault=fault)


async def _put_once_again(world: World) -> None:
    """However the first request ended, the retry leaves exactly one version of the two."""
    retry = (await world.put(KEY, idempotency=RETRY, content=b"the same")).operation
    assert retry is not None
    if retry.outcome is not Outcome.ACKNOWLEDGED:
        world.expect(
            retry.error in ("BucketNotFound", "BucketDeleting", "IdempotencyMismatch"),
            f"a retry in peace is refused: {retry}",
        )
        return
    made = [o for o in made_by(world) if o is not None and o.content == retry.content]
    world.expect(len(made) == 1, f"a request and its retry made {len(made)} versions")


# -- resumable uploads ------------------------------------------------------------------------

PIECES = (5, 2 * PART_BYTES + 1, 4)
"""A tail; parts, the first of which begins with it, and another tail; what ends the upload."""


async def _upload(world: World, fault: Fault | None) -> Process:
    return await world.upload(KEY, PIECES, fault=fault)


async def _upload_short(world: World, fault: Fault | None) -> Process:
    return await world.upload(KEY, (3, 2), fault=fault)


async def _half_an_upload(world: World) -> None:
    """Some parts are there, and a tail, and the multipart has grown old."""
    await world.upload(KEY, (2 * PART_BYTES + 1,), more=PART_BYTES)
    world.pass_time(MULTIPART_TTL_S / 2)


async def _upload_rest(world: World, fault: Fault | None) -> Process:
    """Seals the old multipart, sends the rest into another one, and has both joined."""
    return await world.come_back(world.history.operations[0], fault=fault, in_peace=False)


async def _sweep_old(world: World, fault: Fault | None) -> Process:
    return await world.sweep(fault=fault)


async def _come_back(world: World) -> None:
    """Every client whose upload is not over, in peace: nothing keeps it from its end."""
    for operation in list(world.history.operations):
        await world.come_back(operation)


# -- a bucket that goes while an upload runs --------------------------------------------------


async def _delete_bucket(world: World, fault: Fault | None) -> Process:
    """Beside an upload that has sent its parts and goes on afterwards."""
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def slow(content: bytes) -> AsyncIterator[bytes]:
        async for chunk in chunked(content):
            yield chunk
        halfway.set()
        await go_on.wait()

    upload = asyncio.ensure_future(world.put("slow", LARGE, declared=False, body=slow))
    await halfway.wait()
    process = await world.delete_bucket(fault=fault)
    go_on.set()
    await upload
    return process


# -- everything that a sweeper may find -------------------------------------------------------


async def _debris(world: World) -> None:
    """One upload dead at each stage, a dead version, leftovers, and a tombstone due."""
    await world.put("overwritten")
    await world.put("overwritten")
    world.pass_time(GRACE_S + 1)
    await world.put("tombstone", fault=Fault(Mode.LATE, "blobs.put"))
    world.pass_time(TOMBSTONE_S + 1)
    await world.deliver_late()
    await world.put(KEY, LARGE, fault=Fault(Mode.BEFORE, "uploads.commit"))
    await world.put("not complete", LARGE, fault=Fault(Mode.BEFORE, "blobs.complete"))
    await world.put("parts", LARGE, declared=False, fault=Fault(Mode.AFTER, "blobs.upload_part"))
    await world.put("leftovers", LARGE, fault=Fault(Mode.LOST, "blobs.create_multipart"))
    await world.put("complete late", LARGE, fault=Fault(Mode.IN_FLIGHT, "blobs.complete"))
    world.pass_time(LEASE_S + 1)


async def _sweep(world: World, fault: Fault | None) -> Process:
    return await world.sweep(fault=fault)


STORIES = (
    Story("put", _put(), heals=frozenset({"blobs.put"})),
    Story("put-create-only", _put_create_only, heals=frozenset({"blobs.put"})),
    Story("put-once", _put_once, afterwards=_put_once_again),
    Story("overwrite", _put(), scene=_something_there),
    Story("overwrite-if-match", _put_if_match, scene=_something_there),
    Story(
        "put-multipart",
        _put(LARGE),
        heals=frozenset({"blobs.create_multipart", "blobs.complete"}),
    ),
    Story(
        "put-unknown-length",
        _put(LARGE, declared=False),
        scene=_something_there,
        heals=frozenset({"blobs.create_multipart", "blobs.complete"}),
    ),
    Story("delete", _delete, scene=_something_there),
    Story("overwrite-keeping", _put(), scene=_kept_there),
    Story("delete-keeping", _delete, scene=_kept_there),
    Story("delete-version", _delete_latest, scene=_three_kept),
    Story("copy", _copy, scene=_source(OTHER, over=True), heals=frozenset({"blobs.copy"})),
    Story(
        "copy-multipart",
        _copy,
        scene=_source(OTHER, 2 * PART_BYTES),
        heals=frozenset({"blobs.create_multipart", "blobs.complete"}),
    ),
    Story("restore", _restore, scene=_kept_there, heals=frozenset({"blobs.copy"})),
    Story("move", _move_from, scene=_source(KEY)),
    Story("move-over", _move_to, scene=_source(OTHER, over=True)),
    Story("move-keeping", _move_from, scene=_kept_source, heals=frozenset({"blobs.copy"})),
    Story(
        "move-keeping-multipart",
        _move_from,
        scene=_kept_large_source,
        heals=frozenset({"blobs.create_multipart", "blobs.complete"}),
    ),
    Story("delete-bucket", _delete_bucket),
    Story("resumable", _upload, afterwards=_come_back, resumes=True),
    Story("resumable-short", _upload_short, _something_there, _come_back, resumes=True),
    Story("resumable-joined", _upload_rest, _half_an_upload, _come_back, resumes=True),
    Story("seal", _sweep_old, _half_an_upload, _come_back, asked=False, resumes=True),
    Story("sweep", _sweep, scene=_debris, asked=False),
)


# -- rivals -----------------------------------------------------------------------------------


async def _rival_overwrite(world: World) -> None:
    await world.put(KEY)


async def _rival_delete(world: World) -> None:
    await world.delete(KEY)


async def _rival_sweep(world: World) -> None:
    """Another replica, after a pause of everybody else that outlasts every lease."""
    world.pass_time(LEASE_S + 1)
    await world.deliver_late()
    await world.sweep()


async def _rival_sweep_ahead(world: World) -> None:
    """Another replica, by a database clock that is five minutes ahead for that long."""
    world.pass_time(CLOCKS_APART_S)
    await world.sweep()
    world.pass_time(-CLOCKS_APART_S)


async def _rival_delete_bucket(world: World) -> None:
    await world.delete_bucket()


async def _rival_come_back(world: World) -> None:
    """The client believes that its request is stuck, and goes on through another replica."""
    for operation in list(world.history.operations):
        await world.come_back(operation, in_peace=False)


RIVALS: dict[str, Callable[[World], Awaitable[None]] | None] = {
    "alone": None,
    "overwrite": _rival_overwrite,
    "delete": _rival_delete,
    "sweeper": _rival_sweep,
    "sweeper-ahead": _rival_sweep_ahead,
    "delete-bucket": _rival_delete_bucket,
    COMES_BACK: _rival_come_back,
}
