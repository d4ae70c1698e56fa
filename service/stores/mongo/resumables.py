"""Resumable uploads over MongoDB: further steps on the documents of the ledger (uploads.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from pymongo import ReturnDocument

from service.errors import Fenced
from service.model.ids import BlobKey, TenantId, UploadId
from service.model.resumable import Progress
from service.model.upload import Part, Upload, UploadRef, UploadState
from service.stores.mongo.clock import NOW, in_future, insert_timed, literal, read_clock, read_past
from service.stores.mongo.commit import owned
from service.stores.mongo.driver import Database, Document
from service.stores.mongo.errors import Guard
from service.stores.mongo.resumable_documents import progress_in
from service.stores.mongo.upload_documents import intent_in, keys_in, upload_out
from service.stores.mongo.upload_steps import WITHOUT_PARTS, page, step

_CLAIMABLE = {"$in": [UploadState.OPEN.value, UploadState.SEALING.value]}


class MongoResumableLedger:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._uploads = database["uploads"]
        self._guard = guard

    async def claim(
        self, upload: UploadId, owner: str, offset: int, *, lease_s: float | None = None
    ) -> Upload | None:
        changes: Document = {
            "owner": literal(owner),
            "epoch": {"$add": ["$epoch", 1]},
            "progress.working": True,
        }
        if lease_s is not None:
            changes["lease_until"] = in_future(lease_s)
        with self._guard.writing():
            now = await read_clock(self._database)
            claimed: Document | None = await self._uploads.find_one_and_update(
                {
                    "_id": upload,
                    "state": _CLAIMABLE,
                    "progress.offset": offset,
                    "progress.closed": False,
                    "lease_until": {"$gte": now},
                },
                [{"$set": changes}],
                return_document=ReturnDocument.AFTER,
            )
        return upload_out(claimed) if claimed else None

    async def note_key(self, ref: UploadRef, key: BlobKey) -> None:
        await self._step(owned(ref, UploadState.OPEN), {"$push": {"keys": {"blob_key": key}}})

    async def use_key(self, ref: UploadRef, key: BlobKey) -> None:
        noted = owned(ref, UploadState.OPEN) | {"keys.blob_key": key}
        await self._step(noted, {"$set": {"blob_key": key}})

    async def save(
        self,
        ref: UploadRef,
        progress: Progress,
        *,
        parts: Sequence[Part] = (),
        anew: bool = False,
        state: UploadState = UploadState.OPEN,
        lease_s: float | None = None,
    ) -> None:
        added = literal([asdict(part) for part in parts])
        # `progress` is replaced and not merged, so it is taken away first.
        changes: Document = {"state": state.value, "progress": literal(progress_in(progress))}
        if anew:
            changes["parts"] = added
        elif parts:
            changes["parts"] = {"$concatArrays": ["$parts", added]}
        if lease_s is not None:
            changes["lease_until"] = in_future(lease_s)
        await self._step(
            owned(ref, UploadState.OPEN, UploadState.SEALING),
            [{"$unset": "progress"}, {"$set": changes}],
        )

    async def retire(self, ref: UploadRef, keys: Collection[BlobKey], look_again_s: float) -> None:
        with self._guard.writing():
            found = await self._uploads.find_one(owned(ref, UploadState.OPEN), WITHOUT_PARTS)
            if found is None:
                raise Fenced
            await self._bury(upload_out(found), keys, look_again_s)
        pulled = {"$pull": {"keys": {"blob_key": {"$in": list(keys)}}}}
        await self._step(owned(ref, UploadState.OPEN), pulled)

    async def _bury(self, upload: Upload, keys: Collection[BlobKey], look_again_s: float) -> None:
        """A tombstone with these keys; the sweeper finds it like any other."""
        document = intent_in(upload.intent.of_tombstone()) | {
            "state": UploadState.UNDONE.value,
            "epoch": upload.ref.epoch,
            "owner": upload.ref.owner,
            "keys": keys_in(used for used in upload.keys if used.blob_key in keys),
            "looks": 0,
        }
        times = {"created_at": NOW, "clean_at": in_future(look_again_s)}
        await insert_timed(self._uploads, document, times)

    async def unfinished(
        self, tenant: TenantId, principal: str, *, after: str, limit: int
    ) -> list[Upload]:
        own: Document = {"tenant": tenant, "resumable.principal": principal, "listed": True}
        chosen = own | {"_id": {"$gt": after}}
        with self._guard.reading():
            return await page(self._uploads, chosen, limit, "_id")

    async def aging(self, *, opened_before_s: float, limit: int) -> list[Upload]:
        with self._guard.reading():
            before = await read_past(self._database, opened_before_s)
            old = {"progress.span.opened_at": {"$lte": before}}
            return await page(self._uploads, old, limit, "progress.span.opened_at")

    async def _step(self, filter: Document, changes: Any) -> None:
        await step(self._uploads, self._guard, filter, changes)
