"""What must hold once all is quiet, whatever happened (architecture.md, I1 to I9).

`CHECKS` is the list to extend: I6 joins with quotas, I8 with resumable uploads. I2, I4 and the
fencing of old owners are watched after every single effect (world.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from service.errors import MediagateError, PreconditionFailed
from service.model.bucket import BucketState
from service.model.ids import DEFAULT_TENANT
from service.usecases.get_object import find_version, read_version
from tests.fakes.replica import Event
from tests.faults.history import Kind, Operation, Outcome
from tests.faults.process import Process
from tests.faults.world import BUCKET, World

Problems = Iterator[str]


def check(world: World) -> None:
    for each in CHECKS:
        for problem in each(world):
            world.expect(False, problem)


async def check_reads(world: World) -> None:
    """I1, I2: what a reader gets for every name is what its last change left there."""
    reader = Process(world)
    for key, named in _named(world).items():
        expected = world.history.by_version[named].content if named else None
        try:
            _, version = await find_version(reader.runtime, DEFAULT_TENANT, BUCKET, key)
            async with read_version(reader.runtime, version, 0, version.size_bytes) as chunks:
                found: bytes | str | None = b"".join([chunk async for chunk in chunks])
        except MediagateError as error:
            found = None if expected is None else type(error).__name__
        world.expect(found == expected, f"I1: {key!r} reads {found!r}, not {expected!r}")


def made_by(world: World) -> list[Operation | None]:
    """Whose versions were ever committed, in order."""
    created = [event for event in _events(world) if event.type == "object.created"]
    return [_maker_or_none(world, event) for event in created]


def acknowledged_is_kept(world: World) -> Problems:
    """I1: a 2xx means that it happened; a definite error means that it never will."""
    for put in world.history.of(Kind.PUT):
        events = [event for event in _events(world) if _maker_or_none(world, event) is put]
        if len(events) > 1:
            yield f"I9: {put} has {len(events)} events"
        if put.outcome is Outcome.REFUSED and events:
            yield f"told wrong: {put} became visible"
        if put.outcome is Outcome.ACKNOWLEDGED and not put.replayed and not events:
            yield f"I1: {put} is lost"
    for delete in world.history.of(Kind.DELETE):
        events = [event for event in _events(world) if _deleter(world, event) is delete]
        deleted = delete.outcome is Outcome.ACKNOWLEDGED and delete.version is not None
        if deleted and len(events) != 1:
            yield f"I9: {delete} has {len(events)} events"
        if delete.outcome is Outcome.REFUSED and events:
            yield f"told wrong: {delete} deleted"


def moves_are_whole(world: World) -> Problems:
    """I1: what a move made and what it ended is one change, told like a PUT."""
    for move in world.history.of(Kind.MOVE):
        made = [event for event in _events(world) if _maker_or_none(world, event) is move]
        ended = [event for event in _events(world) if _deleter(world, event) is move]
        if len(made) != len(ended) or len(made) > 1:
            yield f"I1: {move} made {len(made)} versions and ended {len(ended)}"
        if move.outcome is Outcome.REFUSED and made:
            yield f"told wrong: {move} became visible"
        if move.outcome is Outcome.ACKNOWLEDGED and not made:
            yield f"I1: {move} is lost"
    for event, entries in _lives(world):
        deleter = _deleter(world, event)
        if deleter is None or deleter.kind is not Kind.MOVE or not entries:
            continue
        by_version = world.history.by_version
        made = [e.version for e in _events(world) if _maker_or_none(world, e) is deleter]
        if [by_version[each].content for each in made] != [by_version[entries[-1]].content]:
            yield f"I3: {deleter} ended another version than it moved"


def one_blob_has_one_name(world: World) -> Problems:
    """A blob belongs to one version, be it dead."""
    keys = [version.blob_key for version in world.metadata.replica.local.versions.values()]
    if len(set(keys)) != len(keys):
        yield "I4: two versions have the same blob"


def events_are_ordered(world: World) -> Problems:
    """I9: one event document per change, in the order of `seq` for every key."""
    events = _events(world)
    if len({event.id for event in events}) != len(events):
        yield "I9: two events have the same id"
    for key in {event.key for event in events}:
        of_key = [event for event in events if event.key == key]
        if any(before.seq >= after.seq for before, after in pairwise(of_key)):
            yield f"I9: the events of {key!r} are out of order: {of_key}"
    for version in world.metadata.versions.versions.values():
        created = [e for e in events if e.version == version.id and e.type == "object.created"]
        if [event.seq for event in created] != [version.seq]:
            yield f"I9: {version.key!r} has a version whose event is missing or differs"


def changes_make_sense(world: World) -> Problems:
    """I3: replayed in order, every change found what it was told and what it demanded."""
    versions = world.history.versions
    for event, entries in _lives(world):
        maker = _maker_or_none(world, event) or _deleter(world, event)
        if event.type == "object.deleted" and event.version not in entries:
            yield f"I3: {maker} deleted what was not there"
        meant = entries[-1] if entries else None
        if maker is not None and maker.target is not None:
            meant = maker.target
        elif event.type == "object.deleted" and event.version != meant:
            yield f"I3: {maker} deleted what the name was not"
        before = versions.get(meant) if meant else None
        of_source = maker and maker.kind is Kind.MOVE and event.type != "object.created"
        if maker is None or of_source:
            continue
        try:
            maker.preconditions.check_write(before)
        except PreconditionFailed as error:
            yield f"I3: {maker} happened although {error}"
        told = maker.created
        if told is not None and not maker.replayed and told != (before is None):
            yield f"I3: {maker} was told created={told}"


def later_beats_earlier(world: World) -> Problems:
    """I3: what began after something else had ended is not overtaken by it."""
    events = _events(world)
    order: dict[Operation, int] = {}
    for position, event in enumerate(events):
        maker = _maker_or_none(world, event) or _deleter(world, event)
        if maker is not None:
            order[maker] = position
    for later in order:
        for earlier in order:
            if later.key != earlier.key or later.outcome is not Outcome.ACKNOWLEDGED:
                continue
            ended_before = earlier.ended is not None and earlier.ended < later.began
            if ended_before and order[earlier] > order[later]:
                yield f"I3: {earlier} overtook {later}"


def index_is_the_last_change(world: World) -> Problems:
    """I1, I4: exactly what the changes left is latest, in a bucket that exists."""
    tables = world.metadata.replica.local
    latest = {v.key: v.id for v in tables.versions.values() if v.latest}
    made = {key: named for key, named in _named(world).items() if named}
    if latest != made:
        yield f"I1: the index holds {latest}, the changes left {made}"
    there = {*tables.versions, *tables.markers} - tables.dead_since.keys()
    left = {each for entries in _entries(world).values() for each in entries}
    if there != left:
        yield f"I1: {there} count, the changes left {left}"
    for version in tables.versions.values():
        if version.bucket_id not in tables.buckets:
            yield f"I1: {version.key!r} is in a bucket that was deleted"


def nothing_leaks(world: World) -> Problems:
    """I5: blobs are those of live versions, and nothing is owed to anybody."""
    tables = world.metadata.replica.local
    live = {v.blob_key for v in tables.versions.values() if v.id not in tables.dead_since}
    if stray := set(world.blobs.blobs) - live:
        yield f"I5: {len(stray)} blobs leak"
    if world.blobs.multiparts:
        yield f"I5: {len(world.blobs.multiparts)} multiparts leak"
    if tables.uploads:
        yield f"I5: the ledger keeps {sorted(u.state for u in tables.uploads.values())}"
    if tables.dead_since or tables.tombstones:
        yield "I5: dead versions or tombstones of keys stay"


def deletions_end(world: World) -> Problems:
    """A bucket whose deletion was acknowledged is gone; none stays half deleted."""
    buckets = world.metadata.replica.local.buckets.values()
    if any(bucket.state is BucketState.DELETING for bucket in buckets):
        yield "a bucket stays half deleted"
    for deletion in world.history.of(Kind.DELETE_BUCKET):
        if deletion.outcome is Outcome.ACKNOWLEDGED and buckets:
            yield f"{deletion}, yet the bucket is there"


CHECKS: tuple[Callable[[World], Problems], ...] = (
    acknowledged_is_kept,
    moves_are_whole,
    one_blob_has_one_name,
    events_are_ordered,
    changes_make_sense,
    later_beats_earlier,
    index_is_the_last_change,
    nothing_leaks,
    deletions_end,
)


def _events(world: World) -> list[Event]:
    return world.metadata.replica.local.events


def _maker_or_none(world: World, event: Event) -> Operation | None:
    return world.history.by_upload.get(event.id)


def _deleter(world: World, event: Event) -> Operation | None:
    return world.history.by_event.get(event.id)


def _lives(world: World) -> Iterator[tuple[Event, list[str]]]:
    """Each change, and the ids of what counted of its key before it, the youngest at the end."""
    entries: dict[str, list[str]] = {}
    for event in _events(world):
        before = entries.get(event.key, [])
        yield event, before
        entries[event.key] = _after(world, event, before)


def _after(world: World, event: Event, entries: list[str]) -> list[str]:
    if event.type == "object.deleted":
        return [each for each in entries if each != event.version]
    return [*(entries if world.keeps_versions else []), event.version]


def _entries(world: World) -> dict[str, list[str]]:
    """What all changes left of each key."""
    return {event.key: _after(world, event, before) for event, before in _lives(world)}


def _named(world: World) -> dict[str, str | None]:
    """The version that each key names by now; None where that is nothing, or a delete marker."""
    versions = world.history.versions
    youngest = {key: entries[-1] if entries else "" for key, entries in _entries(world).items()}
    return {key: each if each in versions else None for key, each in youngest.items()}
