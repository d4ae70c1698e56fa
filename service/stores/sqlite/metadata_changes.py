"""A change of the facts of what a key names: no new version, but a new revision of its metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, new_id
from service.model.preconditions import Preconditions
from service.model.version import Version
from service.stores.sqlite.bucket_rows import next_seq
from service.stores.sqlite.clock import in_ms, moment, now_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.entries import announce, current_of, current_version, renew_terms
from service.stores.sqlite.rows import facts_in
from service.stores.sqlite.statements import change
from service.stores.version_port import FactsChange

_STORE = """
    UPDATE versions SET facts = ?, revision = ?, modified_ms = ?, changed_seq = ? WHERE no = ?
"""


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """run: the body of the transaction."""

    tenant: TenantId
    bucket_id: BucketId
    key: str
    preconditions: Preconditions
    change: FactsChange

    def run(self, db: Db) -> Version | None:
        """Raises PreconditionFailed, and what `change` raises."""
        row = current_of(db, self.tenant, self.bucket_id, self.key)
        current = current_version(row)
        if row is None or current is None:
            return None
        self.preconditions.check_metadata_write(current)
        facts = self.change(current.facts)
        if facts == current.facts:
            return current
        at_ms = now_ms()
        changed = replace(
            current,
            facts=facts,
            revision=current.revision + 1,
            modified_at=moment(at_ms),
            changed_seq=next_seq(current.last_seq, at_ms),
        )
        stored = (facts_in(facts), changed.revision, in_ms(changed.modified_at))
        change(db, _STORE, *stored, changed.changed_seq, row["no"])
        renew_terms(db, row, changed)
        event = Event(
            EventId(new_id()),
            EventType.OBJECT_UPDATED,
            changed.changed_seq,
            changed.modified_at,
            changed,
        )
        announce(db, event)
        return changed
