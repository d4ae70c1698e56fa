"""What the steps and lists of the ledger have in common, resumable uploads included."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING

from service.errors import Fenced
from service.model.upload import Upload
from service.stores.mongo.commit import PARTS
from service.stores.mongo.driver import Collection, Document
from service.stores.mongo.errors import Guard
from service.stores.mongo.upload_documents import upload_out

WITHOUT_PARTS = dict.fromkeys(PARTS, False)


async def step(uploads: Collection, guard: Guard, filter: Document, changes: Any) -> None:
    """One compare-and-set. Raises Fenced where nothing fits the filter."""
    with guard.writing():
        done = await uploads.update_one(filter, changes)
    if done.matched_count == 0:
        raise Fenced


async def page(
    uploads: Collection, filter: Document, limit: int, sort: str | None = None
) -> list[Upload]:
    """Without their parts, which can be long."""
    order = [(sort, ASCENDING)] if sort else None
    cursor = uploads.find(filter, WITHOUT_PARTS, sort=order, limit=limit)
    return [upload_out(document) for document in await cursor.to_list(limit)]
