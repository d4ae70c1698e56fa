"""A change of an object's facts in memory: prepared first, applied at its commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from service.errors import Conflict
from service.model.event import EventType
from service.model.ids import EventId, new_id
from service.model.preconditions import Preconditions
from service.model.version import ObjectFacts, Version
from service.stores.version_port import FactsChange
from tests.fakes.clock import Clock
from tests.fakes.replica import Event, Place, Replica, Tables, current_of, current_seq, latest_of


@dataclass
class FakeMetadataChange:
    clock: Clock
    replica: Replica
    place: Place
    preconditions: Preconditions
    change: FactsChange
    id: str = field(default_factory=new_id)

    def prepare(self) -> Callable[[], Version | None]:
        """The commit raises Conflict where another transaction changed the key first."""
        before = latest_of(self.replica.writable(), self.place)
        changed = self._changed(before) if before else None

        def apply() -> Version | None:
            tables = self.replica.writable()
            if changed is None or before is None or changed == before.facts:
                return before
            if current_of(tables, self.place) != before:
                raise Conflict("another transaction came first")
            return self._store(tables, replace(before, facts=changed))

        return apply

    def landed(self, tables: Tables) -> Version | None:
        published = {name: kept.event for name, kept in tables.published.items()}
        event = (tables.pending | published).get(EventId(self.id))
        if event is None:
            return None
        assert isinstance(event.of, Version)
        return event.of

    def _changed(self, before: Version) -> ObjectFacts:
        self.preconditions.check_metadata_write(before)
        return self.change(before.facts)

    def _store(self, tables: Tables, changed: Version) -> Version:
        now, kind = self.clock.now, EventType.OBJECT_UPDATED
        seq = max(current_seq(tables, self.place) + 1, self.clock.milliseconds())
        stored = replace(changed, revision=changed.revision + 1, modified_at=now, changed_seq=seq)
        tables.versions[stored.id] = stored
        tables.events.append(Event(kind, stored.key, seq, self.id, stored.bucket_id, stored.id))
        tables.announce(self.id, kind, seq, now, stored)
        return stored
