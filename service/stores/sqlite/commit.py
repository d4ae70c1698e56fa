"""The commit: the one transaction that makes a version visible.

In this order: the upload is still ours and `completing` (or `open`, where one PutObject stored the
blob whole); its bucket is there and active; nothing newer than `base_seq`; the preconditions hold.
Then the upload is `committed`, the old entry of the key ends, the version is inserted and the event
appended (placing.py). The commit of a move deletes its source besides.

Whoever wins `undoing` writes before or after, never meanwhile. The event's id is the upload's, so
no upload can ever announce two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.errors import Conflict, Fenced
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import Completion, Intent, Staged, Upload, UploadRef, UploadState
from service.stores.sqlite.bucket_rows import bucket_of, next_seq, require_active
from service.stores.sqlite.clock import now_ms
from service.stores.sqlite.deletions import Deletion
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.entries import current_of, current_version
from service.stores.sqlite.ledger import forget_parts, held, read_upload
from service.stores.sqlite.placing import place
from service.stores.sqlite.rows import last_seq_out
from service.stores.sqlite.statements import change
from service.stores.sqlite.upload_rows import completion_in, intent_out

_COMMITTED = """
    UPDATE uploads SET state = 'committed', committed_ms = ?, seq = ?, replaced = ?,
        completion = coalesce(?, completion), parts = NULL, lease_ms = NULL,
        clean_ms = CASE WHEN ? THEN ? END, resumer = NULL, progress = NULL, span_ms = NULL
    WHERE id = ?
"""
_LEFTOVERS = "UPDATE upload_keys SET leftover = 1 WHERE upload_id = ? AND blob_key <> ?"


@dataclass(frozen=True, slots=True)
class Commit:
    """One upload's commit; `run` is the body of the transaction.

    whole: the completion, where the upload is committed from `open` as it was admitted; blob_key:
    the key in use that its owner knows of.
    """

    ref: UploadRef
    base_seq: int | None = None
    whole: Completion | None = None
    blob_key: str = ""

    def run(self, db: Db) -> Upload:
        """Raises Fenced, BucketNotFound, BucketDeleting, Conflict, PreconditionFailed."""
        state = UploadState.COMPLETING if self.whole is None else UploadState.OPEN
        row = held(db, self.ref, (state,))
        if self.whole is not None and row["blob_key"] != self.blob_key:
            raise Fenced("the upload has used another key since")
        intent = intent_out(row)
        current = current_of(db, intent.tenant, intent.bucket_id, intent.key)
        bucket = bucket_of(db, intent.tenant, intent.bucket_id)
        require_active(bucket)
        self._check(intent, current)
        committed = self._step(db, intent, current)
        placed = place(db, committed.version(), self.ref.id, current, bucket)
        if intent.moved_from is not None:
            _remove_source(db, intent, placed.seq)
        return committed

    def _check(self, intent: Intent, current: Row | None) -> None:
        base_seq, last_seq = self.base_seq, last_seq_out(current) if current is not None else 0
        if base_seq is not None and last_seq > base_seq:
            raise Conflict("the key was changed after this upload was complete")
        intent.preconditions.check_write(current_version(current))

    def _step(self, db: Db, intent: Intent, current: Row | None) -> Upload:
        at_ms = now_ms()
        leftovers = change(db, _LEFTOVERS, self.ref.id, intent.blob_key) > 0
        change(
            db,
            _COMMITTED,
            at_ms,
            next_seq(last_seq_out(current) if current is not None else 0, at_ms),
            int(current_version(current) is not None),
            self.whole and completion_in(self.whole),
            int(leftovers),
            at_ms,
            self.ref.id,
        )
        forget_parts(db, self.ref.id)
        committed = read_upload(db, self.ref.id)
        assert committed is not None
        return committed


def _remove_source(db: Db, intent: Intent, seq: int) -> None:
    """The other half of a move, in the same transaction. Raises PreconditionFailed where the source
    is not the version any more that was copied."""
    source = intent.moved_from
    assert source is not None
    it = Preconditions(if_match=EntityTags((EntityTag(source.version),)))
    Deletion(intent.tenant, source.bucket_id, source.key, it, after_seq=seq).run(db)


def commit_of(staged: Staged) -> Commit:
    """One of several that are committed together."""
    upload, completion = staged.upload, staged.completion
    if completion.parts:
        return Commit(upload.ref)
    return whole_commit(upload, completion)


def whole_commit(upload: Upload, completion: Completion, base_seq: int | None = None) -> Commit:
    whole = replace(completion, parts=())
    return Commit(upload.ref, base_seq, whole, upload.intent.blob_key)
