"""The commit: the one transaction that makes a version visible.

Inside, under one snapshot and in this order: the upload is still ours and `completing`; what the
key names now; the bucket is there and active; nothing newer than `base_seq`; the preconditions
hold. Then the upload's compare-and-set to `committed`, which takes the time and the new `seq` from
the database's clock, ends the old entry of the key, inserts the version and appends the event
(placing.py). The commit of a move deletes its source besides.

A blob that one PutObject stored whole has nothing to be completed. Its owner commits it from
`open`, with the completion in the same compare-and-set, and spares the server the step to
`completing` and two reads: six commands instead of ten. Whether the upload is still ours is found
out by the compare-and-set alone, after the preconditions.

Whoever wins `undoing` (the owner, the sweeper, a bucket's deletion) changes the same upload
document, so one of the two transactions aborts: that is what makes `undoing` proof. The event's id
is the upload's, so no upload can ever announce two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pymongo import ReturnDocument

from service.errors import BucketDeleting, BucketNotFound, Conflict, Fenced
from service.model.bucket import BucketState
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Intent, Staged, Upload, UploadRef, UploadState
from service.stores.mongo.clock import NOW, literal
from service.stores.mongo.deletions import Deletion
from service.stores.mongo.documents import OBJECT, last_seq_out, version_out
from service.stores.mongo.driver import Database, Document, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.latest_reads import latest_of
from service.stores.mongo.placing import place
from service.stores.mongo.upload_documents import completion_in, upload_out

PARTS = ("completion.parts", "parts")
"""Up to 10,000 of them, over a megabyte: not kept past the commit, nor read where many are."""
UNFINISHED_ONLY = ("lease_until", "progress", "listed", *PARTS)
"""What only an unfinished upload has."""


def owned(ref: UploadRef, *states: UploadState) -> Document:
    """The filter of a step: this upload under this epoch and owner, in one of these states."""
    allowed: Any = states[0].value if len(states) == 1 else {"$in": [s.value for s in states]}
    return {"_id": ref.id, "epoch": ref.epoch, "owner": ref.owner, "state": allowed}


@dataclass(frozen=True, slots=True)
class Commit:
    """One upload's commit; `run` is the body of the transaction, `landed` its read-back.

    whole: the upload as its owner knows it, completion included, where it is committed from `open`.
    """

    database: Database
    guard: Guard
    ref: UploadRef
    base_seq: int | None = None
    whole: Upload | None = None

    async def run(self, session: Session) -> Upload:
        """Raises Fenced, BucketNotFound, BucketDeleting, Conflict, PreconditionFailed."""
        upload = self.whole or await self._completing(session)
        current = await self._current(upload, session)
        bucket = await self._bucket(upload, session)
        self._check(upload, current)
        committed = upload_out(await self._step(upload, current, session))
        made = committed.version()
        placed = await place(self.database, made, self.ref.id, current, bucket, session)
        if upload.intent.moved_from is not None:
            await self._remove_source(upload.intent, placed.seq, session)
        return committed

    async def landed(self) -> Upload | None:
        with self.guard.reading():
            stored = await self.database["uploads"].find_one(owned(self.ref, UploadState.COMMITTED))
        return upload_out(stored) if stored else None

    async def _completing(self, session: Session) -> Upload:
        stored = await self.database["uploads"].find_one(
            owned(self.ref, UploadState.COMPLETING), dict.fromkeys(PARTS, False), session=session
        )
        if stored is None:
            raise Fenced("the upload is not ours to commit")
        return upload_out(stored)

    async def _current(self, upload: Upload, session: Session) -> Document | None:
        intent = upload.intent
        found: Document | None = await self.database["versions"].find_one(
            latest_of(intent.tenant, intent.bucket_id, intent.key), session=session
        )
        return found

    async def _bucket(self, upload: Upload, session: Session) -> Document:
        intent = upload.intent
        bucket: Document | None = await self.database["buckets"].find_one(
            {"_id": intent.bucket_id, "tenant": intent.tenant}, session=session
        )
        if bucket is None:
            raise BucketNotFound
        if bucket["state"] != BucketState.ACTIVE.value:
            raise BucketDeleting
        return bucket

    def _check(self, upload: Upload, current: Document | None) -> None:
        if self.base_seq is not None and current and last_seq_out(current) > self.base_seq:
            raise Conflict("the key was changed after this upload was complete")
        names_object = current is not None and current["kind"] == OBJECT
        upload.intent.preconditions.check_write(
            version_out(current) if current and names_object else None
        )

    async def _step(self, upload: Upload, current: Document | None, session: Session) -> Document:
        """To `committed`; the seq is greater than any that the key ever had."""
        blob_key = upload.intent.blob_key
        has_leftovers = any(used.blob_key != blob_key for used in upload.keys)
        changes: Document = {
            "state": UploadState.COMMITTED.value,
            "committed_at": NOW,
            "seq": {"$max": [last_seq_out(current) + 1 if current else 1, {"$toLong": NOW}]},
            "replaced": current is not None and current["kind"] == OBJECT,
            "settled": not has_leftovers,
            "leftovers": {
                "$filter": {
                    "input": "$keys",
                    "as": "used",
                    "cond": {"$ne": ["$$used.blob_key", literal(blob_key)]},
                }
            },
        }
        if has_leftovers:
            changes["clean_at"] = NOW
        expected = owned(self.ref, UploadState.COMPLETING)
        if self.whole is not None and upload.completion is not None:
            expected = owned(self.ref, UploadState.OPEN) | {"blob_key": upload.intent.blob_key}
            changes["completion"] = literal(completion_in(upload.completion))
        stored: Document | None = await self.database["uploads"].find_one_and_update(
            expected,
            [{"$set": changes}, {"$unset": list(UNFINISHED_ONLY)}],
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if stored is None:
            raise Fenced("the upload is not ours to commit")
        return stored

    async def _remove_source(self, intent: Intent, seq: int, session: Session) -> None:
        """The other half of a move, in the same transaction. Raises PreconditionFailed where the
        source is not the version any more that was copied."""
        source = intent.moved_from
        assert source is not None
        it = Preconditions(if_match=EntityTags((EntityTag(source.version),)))
        deletion = Deletion(
            self.database, intent.tenant, source.bucket_id, source.key, it, after_seq=seq
        )
        await deletion.run(session)


@dataclass(frozen=True, slots=True)
class CommitAll:
    """Several uploads' commits as the body of one transaction."""

    database: Database
    guard: Guard
    staged: tuple[Staged, ...]

    async def run(self, session: Session) -> list[Upload]:
        """What each of them raises, at the first that does."""
        return [await self._of(each).run(session) for each in self.staged]

    async def landed(self) -> list[Upload] | None:
        found = []
        for each in self.staged:
            upload = await self._of(each).landed()
            if upload is None:
                return None
            found.append(upload)
        return found

    def _of(self, staged: Staged) -> Commit:
        upload, completion = staged.upload, staged.completion
        whole = None if completion.parts else replace(upload, completion=completion)
        return Commit(self.database, self.guard, upload.ref, whole=whole)
