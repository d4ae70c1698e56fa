"""What a rebuild makes of the events of one key after the other: the entries that count of each.

The journal brings all events of a key side by side, of each of its subjects the last one, but not
in the order in which its versions were made. A key may have any number of them, so each is given on
at once, as one that is kept behind the current one; only the youngest so far is held back until
the next key begins, since it is what the key names.

Where the bytes of the youngest are lost, what an older version says must not pass for the newest:
a delete marker of the same id stands in its place, or, where nothing else counts, a tombstone. The
current entry also gets the `seq` of the key's last change, so that the next change comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.model.event import Event, EventType
from service.model.version import DeleteMarker, Entry, Version


@dataclass(frozen=True, slots=True)
class Checked:
    """The last event of a subject. lost: its version cannot be put back, for want of its bytes."""

    event: Event
    lost: bool = False


class KeyEntries:
    def __init__(self) -> None:
        self._key: tuple[str, str, str] | None = None
        self._youngest: tuple[Entry, Checked] | None = None
        self._last: Event | None = None
        self._keeps_others = False

    def take(self, found: Checked) -> list[Event]:
        """Returns what can be put back by now, each entry as it is to be stored."""
        event, entry = found.event, found.event.of
        if not isinstance(entry, Version | DeleteMarker):
            return [event]
        key = entry.tenant, entry.bucket_id, entry.key
        done = self.close() if key != self._key else []
        self._key = key
        if self._last is None or event.seq > self._last.seq:
            self._last = event
        if event.removes:
            return done
        behind: tuple[Entry, Checked] | None = (entry, found)
        if self._youngest is None or entry.seq > self._youngest[0].seq:
            behind, self._youngest = self._youngest, (entry, found)
        if behind is not None and not behind[1].lost:
            self._keeps_others = True
            kept = replace(behind[0], latest=False, changed_seq=0)
            done.append(replace(behind[1].event, of=kept))
        return done

    def close(self) -> list[Event]:
        """What the key names, once all its events were taken; for a deleted one its removal."""
        youngest, last, keeps_others = self._youngest, self._last, self._keeps_others
        self._youngest, self._last, self._keeps_others = None, None, False
        if last is None:
            return []
        if youngest is None:
            return [last]
        entry, found = youngest
        if found.lost and not keeps_others:
            return [replace(found.event, type=EventType.OBJECT_DELETED, seq=last.seq)]
        changed_seq = last.seq if last.seq > entry.seq else 0
        if found.lost:
            marker = _marker_for(entry, changed_seq)
            return [replace(found.event, type=EventType.MARKER_CREATED, of=marker)]
        return [replace(found.event, of=replace(entry, latest=True, changed_seq=changed_seq))]


def _marker_for(lost: Entry, changed_seq: int) -> DeleteMarker:
    return DeleteMarker(
        lost.id,
        lost.tenant,
        lost.bucket_id,
        lost.key,
        lost.seq,
        lost.created_at,
        changed_seq=changed_seq,
    )
