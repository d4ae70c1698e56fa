"""What objects stored by an older release lack: the field that searches read by."""

from __future__ import annotations

from pymongo import UpdateOne

from service.stores.mongo.documents import version_out
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.searchable import searchable

_AT_ONCE = 500


async def make_searchable(database: Database) -> None:
    """Give every object its terms; may run twice, and beside a release that writes them itself."""
    lacking: Document = {"kind": "object", "search": {"$exists": False}}
    changes: list[UpdateOne] = []
    async for document in database["versions"].find(lacking, batch_size=_AT_ONCE):
        search = searchable(version_out(document))
        changes.append(UpdateOne({"_id": document["_id"], **lacking}, {"$set": {"search": search}}))
        if len(changes) == _AT_ONCE:
            await database["versions"].bulk_write(changes, ordered=False)
            changes = []
    if changes:
        await database["versions"].bulk_write(changes, ordered=False)
