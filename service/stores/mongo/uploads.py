"""The write ledger over MongoDB.

Each step is one compare-and-set on {_id, epoch, owner, state}; the driver repeats a write whose
answer was lost under the same transaction number, so the server applies it once. `lease_until`
exists only while an upload is unfinished, `clean_at` only while its keys are to be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from service.errors import Fenced, StoreUnavailable
from service.model.ids import BlobKey, BucketId, MultipartId, TenantId, UploadId
from service.model.upload import (
    UNDOABLE,
    UNFINISHED,
    Completion,
    Intent,
    Staged,
    Upload,
    UploadRef,
    UploadState,
)
from service.stores.mongo.clock import NOW, in_future, insert_timed, literal, read_clock, read_past
from service.stores.mongo.commit import UNFINISHED_ONLY, Commit, CommitAll, owned
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.resumable_documents import first_progress
from service.stores.mongo.transactions import Transactions
from service.stores.mongo.upload_documents import completion_in, intent_in, upload_out
from service.stores.mongo.upload_steps import page, step

ADMIT_TRIES = 10
TAKE_OVER_S = 2.0
"""How long a conflict over an abandoned upload is worth; the next pass of the sweeper is soon."""
_UNDOABLE = {"$in": [state.value for state in UNDOABLE]}
_UNFINISHED = {"$in": [state.value for state in UNFINISHED]}


class MongoUploadLedger:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._database = database
        self._uploads = database["uploads"]
        self._guard = guard
        self._transactions = transactions

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        document = intent_in(intent) | {
            "state": UploadState.OPEN.value,
            "epoch": 1,
            "owner": owner,
            "keys": [{"blob_key": intent.blob_key}],
            "looks": 0,
        }
        if intent.resumable is not None:
            document |= first_progress(intent.declared_size_bytes)
        times = {"created_at": NOW, "lease_until": in_future(lease_s)}
        with self._guard.writing():
            for _ in range(ADMIT_TRIES):
                try:
                    return upload_out(await insert_timed(self._uploads, document, times))
                except DuplicateKeyError:
                    earlier = await self._holder(intent)
                if earlier is not None:
                    return upload_out(earlier)
                # Freed in between, or not yet majority: either ends at once.
                await asyncio.sleep(0.01)
        raise StoreUnavailable("the idempotency key changes hands too fast")

    async def _holder(self, intent: Intent) -> Document | None:
        """Who has the idempotency key; or this very upload, where its id is the duplicate."""
        named = intent.idempotency
        if named is None:
            return await self._find({"_id": intent.id})
        return await self._find(
            {
                "tenant": intent.tenant,
                "idempotency.principal": named.principal,
                "idempotency.key": named.key,
                "idempotency.ordinal": named.ordinal,
                "idempotency.held": True,
            }
        )

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        await self._step(owned(ref, *UNFINISHED), [{"$set": {"lease_until": in_future(lease_s)}}])

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        await self._step(
            owned(ref, UploadState.OPEN),
            {"$set": {"blob_key": key}, "$push": {"keys": {"blob_key": key}}},
        )

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        await self._step(
            owned(ref, UploadState.OPEN) | {"keys.blob_key": key},
            {"$set": {"keys.$.multipart_id": multipart}},
        )

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        changes = {
            "state": UploadState.COMPLETING.value,
            "completion": literal(completion_in(completion)),
            "completing_at": NOW,
            "lease_until": in_future(lease_s),
        }
        await self._step(owned(ref, UploadState.OPEN), [{"$set": changes}])

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        commit = Commit(self._database, self._guard, ref, base_seq)
        return await self._transactions.run(commit.run, commit.landed, deadline_s=deadline_s)

    async def commit_whole(
        self,
        upload: Upload,
        completion: Completion,
        *,
        deadline_s: float,
        base_seq: int | None = None,
    ) -> Upload:
        whole = replace(upload, completion=completion)
        commit = Commit(self._database, self._guard, upload.ref, base_seq, whole)
        return await self._transactions.run(commit.run, commit.landed, deadline_s=deadline_s)

    async def commit_all(self, staged: Sequence[Staged], *, deadline_s: float) -> list[Upload]:
        commits = CommitAll(self._database, self._guard, tuple(staged))
        return await self._transactions.run(commits.run, commits.landed, deadline_s=deadline_s)

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        changes = {"state": UploadState.UNDOING.value, "lease_until": in_future(lease_s)}
        won = await self._change(owned(ref, *UNDOABLE, UploadState.UNDOING), [{"$set": changes}])
        if won is None:
            raise Fenced
        return upload_out(won)

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        taken = await self._change(
            {"_id": upload, "state": _UNDOABLE},
            [{"$set": _new_owner(owner, lease_s) | {"state": UploadState.UNDOING.value}}],
        )
        return upload_out(taken) if taken else None

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        """In a transaction, which meets a conflict where a plain write would wait.

        A process killed in its commit leaves a transaction open that holds the document until the
        server ends it (after 60 s; SecantusDB only when it meets another transaction).
        """
        with self._guard.reading():
            now = await read_clock(self._database)
        expired = {"_id": upload, "state": _UNFINISHED, "lease_until": {"$lt": now}}

        async def work(session: Session) -> Document | None:
            taken: Document | None = await self._uploads.find_one_and_update(
                expired,
                [{"$set": _new_owner(owner, lease_s)}],
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            return taken

        async def landed() -> Document | None:
            with self._guard.reading():
                return await self._find({"_id": upload, "owner": owner})

        taken = await self._transactions.run(work, landed, deadline_s=TAKE_OVER_S)
        return upload_out(taken) if taken else None

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        changes = {"state": UploadState.UNDONE.value, "clean_at": in_future(look_again_s)}
        await self._step(
            owned(ref, UploadState.UNDOING),
            [{"$set": changes}, {"$unset": [*UNFINISHED_ONLY, "idempotency"]}],
        )

    async def get(self, upload: UploadId) -> Upload | None:
        with self._guard.reading():
            found = await self._find({"_id": upload})
        return upload_out(found) if found else None

    async def expired(self, *, limit: int) -> list[Upload]:
        with self._guard.reading():
            now = await read_clock(self._database)
            return await page(self._uploads, {"lease_until": {"$lt": now}}, limit, "lease_until")

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        with self._guard.reading():
            return await page(
                self._uploads, {"tenant": tenant, "bucket_id": bucket, "state": _UNDOABLE}, limit
            )

    async def due(self, *, limit: int) -> list[Upload]:
        with self._guard.reading():
            now = await read_clock(self._database)
            return await page(self._uploads, {"clean_at": {"$lte": now}}, limit, "clean_at")

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        cleanable = [UploadState.COMMITTED.value, UploadState.UNDONE.value]
        filter: Document = {"_id": upload, "state": {"$in": cleanable}}
        changes: list[Document]
        if look_again_s is None:
            # A tombstone keeps its date until it is forgotten, or nobody would ever find it.
            filter["state"] = UploadState.COMMITTED.value
            changes = [{"$set": {"leftovers": [], "settled": True}}, {"$unset": ["clean_at"]}]
        else:
            looks = {"$add": ["$looks", 1]}
            changes = [{"$set": {"clean_at": in_future(look_again_s), "looks": looks}}]
        with self._guard.writing():
            await self._uploads.update_one(filter, changes)

    async def forget(self, upload: UploadId) -> None:
        with self._guard.writing():
            await self._uploads.delete_one({"_id": upload, "state": UploadState.UNDONE.value})

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        with self._guard.writing():
            before = await read_past(self._database, older_than_s)
            cursor = self._uploads.find(
                {"settled": True, "committed_at": {"$lte": before}},
                {"_id": True},
                sort=[("committed_at", ASCENDING)],
                limit=limit,
            )
            ids = [document["_id"] for document in await cursor.to_list(limit)]
            if not ids:
                return 0
            forgotten = await self._uploads.delete_many({"_id": {"$in": ids}, "settled": True})
        return forgotten.deleted_count

    async def count(self) -> Mapping[UploadState, int]:
        with self._guard.reading():
            return {
                state: await self._uploads.count_documents({"state": state.value})
                for state in UploadState
            }

    async def _step(self, filter: Document, changes: Any) -> None:
        await step(self._uploads, self._guard, filter, changes)

    async def _change(self, filter: Document, changes: list[Document]) -> Document | None:
        with self._guard.writing():
            changed: Document | None = await self._uploads.find_one_and_update(
                filter, changes, return_document=ReturnDocument.AFTER
            )
        return changed

    async def _find(self, filter: Document) -> Document | None:
        found: Document | None = await self._uploads.find_one(filter)
        return found


def _new_owner(owner: str, lease_s: float) -> Document:
    return {
        "owner": literal(owner),
        "epoch": {"$add": ["$epoch", 1]},
        "lease_until": in_future(lease_s),
    }
