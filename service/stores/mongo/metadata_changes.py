"""A change of the facts of what a key names: no new version, but a new revision of its metadata.

One transaction, which writes to the key's current entry as every change of a key does, so that it
conflicts with an overwrite or a delete of it. The event has the version as it is then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pymongo import ReturnDocument

from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, new_id
from service.model.preconditions import Preconditions
from service.model.version import Version
from service.stores.mongo.clock import NOW, literal
from service.stores.mongo.documents import OBJECT, version_in, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.events import event_in
from service.stores.mongo.latest_reads import latest_of
from service.stores.version_port import FactsChange

_FROM_FACTS = ("facts", "search")
"""Fields of a version's document that are made from its facts, where it has them."""


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """run: the body of the transaction. change_id: new and unique, the event's id."""

    database: Database
    tenant: TenantId
    bucket_id: BucketId
    key: str
    preconditions: Preconditions
    change: FactsChange
    change_id: str = field(default_factory=new_id)

    async def run(self, session: Session) -> Version | None:
        """Raises PreconditionFailed, and what `change` raises."""
        wanted = latest_of(self.tenant, self.bucket_id, self.key)
        found = await self.database["versions"].find_one(wanted, session=session)
        if found is None or found["kind"] != OBJECT:
            return None
        current = version_out(found)
        self.preconditions.check_metadata_write(current)
        facts = self.change(current.facts)
        if facts == current.facts:
            return current
        return await self._store(replace(current, facts=facts), session)

    async def landed(self) -> Version | None:
        found = await self.database["events"].find_one({"_id": self.change_id})
        return version_out(found["version"]) if found else None

    async def _store(self, changed: Version, session: Session) -> Version:
        document = version_in(changed)
        made: Document = {name: literal(document[name]) for name in _FROM_FACTS if name in document}
        stored = await self.database["versions"].find_one_and_update(
            {"_id": changed.id, "latest": True},
            [
                {
                    "$set": made
                    | {
                        "revision": changed.revision + 1,
                        "modified_at": NOW,
                        "changed_seq": {"$max": [changed.last_seq + 1, {"$toLong": NOW}]},
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        version = version_out(stored)
        event = Event(
            EventId(self.change_id),
            EventType.OBJECT_UPDATED,
            version.changed_seq,
            version.modified_at,
            version,
        )
        await self.database["events"].insert_one(event_in(event), session=session)
        return version
