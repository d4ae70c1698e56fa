"""What a rebuild makes of the events of one key: which of its entries it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.model.event import Event
from service.model.version import DeleteMarker, Version


def same_key(one: Event, other: Event) -> bool:
    a, b = one.of, other.of
    if not isinstance(a, Version | DeleteMarker) or not isinstance(b, Version | DeleteMarker):
        return False
    return (a.tenant, a.bucket_id, a.key) == (b.tenant, b.bucket_id, b.key)


def entries_of_key(events: Sequence[Event]) -> list[Event]:
    """events: the last ones of the subjects of one key, or one event of something else.

    Returns all that counts, the youngest as what the key names, and nothing of what was deleted;
    where nothing counts, the last removal. The youngest also gets the `seq` of the last change of
    all, so that the next change comes after it.
    """
    live = [event for event in events if not event.removes]
    if not live:
        return [max(events, key=lambda event: event.seq)] if events else []
    last_seq = max(event.seq for event in events)
    youngest = max(live, key=_made)
    return [_placed(event, youngest, last_seq) for event in live]


def _made(event: Event) -> int:
    """When its version was made: later events are about the same one."""
    return event.of.seq if isinstance(event.of, Version | DeleteMarker) else 0


def _placed(event: Event, youngest: Event, last_seq: int) -> Event:
    entry = event.of
    if not isinstance(entry, Version | DeleteMarker):
        return event
    if event is not youngest:
        return replace(event, of=replace(entry, latest=False, changed_seq=0))
    changed_seq = last_seq if last_seq > entry.seq else 0
    return replace(event, of=replace(entry, latest=True, changed_seq=changed_seq))
