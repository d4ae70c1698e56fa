"""The port of the write ledger; `stores/ports.py` names it too, and says what holds for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from service.model.ids import BlobKey, BucketId, MultipartId, TenantId, UploadId
from service.model.upload import Completion, Intent, Staged, Upload, UploadRef, UploadState


class UploadLedger(Protocol):
    """The write ledger. A step whose ref or state does not hold raises Fenced, changing nothing."""

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        """Write down the intent and return it as `open`, epoch 1.

        Where the idempotency key is taken already, returns the earlier upload, whose id differs
        from the intent's, and writes nothing. (`admitting` precedes `open` once quotas exist.)
        """

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        """Extend the lease of an unfinished upload."""

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        """`open`: go on under a fresh blob key, noted before it is used."""

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        """`open`: note a multipart's id before its first part."""

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        """`open` -> `completing`, lease extended."""

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        """`completing` -> `committed`: the transaction that makes a version visible.

        Inside, under one snapshot: the upload is still {epoch, owner, completing}; its bucket is
        there and active; the intent's preconditions hold; where `base_seq` is given (the sweeper
        rolls forward), nothing newer than it was committed on the key. Then the old version is
        dead, the new one latest with seq = max(previous + 1, database milliseconds), keys other
        than the blob's become leftovers, and the event is appended.
        A conflict runs it all again, jittered, until the deadline. An ambiguous commit is repeated
        on the same session, then read back by upload id before anything is evaluated again.
        Raises Fenced, PreconditionFailed, BucketNotFound, BucketDeleting, Conflict (something newer
        than base_seq), StoreUnavailable (not committed by this call), OutcomeUnknown.
        """

    async def commit_whole(
        self,
        upload: Upload,
        completion: Completion,
        *,
        deadline_s: float,
        base_seq: int | None = None,
    ) -> Upload:
        """`open` -> `committed` in one transaction, for a blob that is whole in the store already.

        upload: as its owner knows it, with the blob's key in use; it is not read again. What holds
        inside and what is raised are those of `commit`. Raises Fenced also where the upload uses
        another key.
        """

    async def commit_all(self, staged: Sequence[Staged], *, deadline_s: float) -> list[Upload]:
        """Commit all of them in one transaction: readers see all of the versions or none.

        staged: of different keys. What holds inside, for each, and what is raised are those of
        `commit` and `commit_whole`.
        """

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        """Win `undoing` from any undoable state, or find it won under this ref already.

        Only after it returns may it be said that the upload was not committed.
        """

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        """Take an undoable upload over whatever its lease, straight into `undoing`, epoch + 1.

        None where it is in no undoable state any more.
        """

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        """Own an unfinished upload whose lease ran out: epoch + 1, same state.

        None where the lease holds or nothing is owed.
        """

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        """`undoing` -> `undone`: a tombstone that frees the idempotency key.

        clean_at = now + look_again_s: late requests of a dead owner are looked for once more.
        """

    async def get(self, upload: UploadId) -> Upload | None: ...

    async def expired(self, *, limit: int) -> list[Upload]:
        """Unfinished uploads whose lease ran out."""

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        """Uploads that could still commit, leased or not; one that is `undoing` cannot."""

    async def due(self, *, limit: int) -> list[Upload]:
        """Tombstones, and committed uploads with leftovers, whose `clean_at` has come."""

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        """Leftovers were seen gone: look again later, or (None) drop them from the entry."""

    async def forget(self, upload: UploadId) -> None:
        """Drop a tombstone that was looked at for the last time."""

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        """Drop entries committed that long ago that have no leftovers; returns how many."""

    async def count(self) -> Mapping[UploadState, int]: ...
