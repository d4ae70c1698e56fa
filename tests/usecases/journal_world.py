"""What the tests of the journal share: a publisher, and what the journal says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from service.errors import JournalDamaged, OutcomeUnknown
from service.model.event import Event
from service.model.ids import BlobKey
from service.protocol.event_json import parse_event
from service.usecases.journal import list_runs, merge
from service.usecases.publish_events import Leadership, publish_events
from service.usecases.runtime import Runtime
from tests.fakes.blob_store import FakeBlobStore

TTL_S = 10.0


class Crash(Exception):
    """The process is gone."""


def leadership(runtime: Runtime, owner: str = "a") -> Leadership:
    return Leadership(runtime.metadata.outbox, owner, TTL_S)


async def publish(runtime: Runtime, owner: str = "a") -> int | None:
    return await publish_events(runtime, leadership(runtime, owner))


def fail(key: BlobKey, error: JournalDamaged) -> None:
    raise error


async def last_events(runtime: Runtime) -> dict[str, Event]:
    """What the journal knows of each subject."""
    found = [each async for each in merge(runtime, await list_runs(runtime), fail)]
    events = [parse_event(each.last.raw) for each in found]
    assert [event.subject for event in events] == sorted({event.subject for event in events})
    return {event.subject: event for event in events}


def journal_keys(blobs: FakeBlobStore) -> list[BlobKey]:
    return sorted(key for key in blobs.blobs if key.startswith("journal/"))


@contextmanager
def struck(
    target: object, method: str, *, before: bool, error: Callable[[], Exception] = OutcomeUnknown
) -> Iterator[None]:
    """The method fails once, before or after it did its work."""
    whole = getattr(target, method)

    async def broken(*args: object, **kwargs: object) -> object:
        patch.undo()
        if not before:
            await whole(*args, **kwargs)
        raise error()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, method, broken)
        yield
