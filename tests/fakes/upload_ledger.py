"""The write ledger in memory: every step a compare-and-set, the commit a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    Conflict,
    Fenced,
    MediagateError,
    StoreUnavailable,
)
from service.model.bucket import Bucket, BucketState
from service.model.ids import BlobKey, BucketId, MultipartId, TenantId, UploadId
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.resumable import Progress
from service.model.upload import (
    UNDOABLE,
    UNFINISHED,
    Completion,
    Intent,
    Staged,
    Upload,
    UploadRef,
    UploadState,
    UsedKey,
)
from service.model.version import Entry, Version
from tests.fakes.clock import Clock
from tests.fakes.deletions import FakeDeletion
from tests.fakes.replica import Replica, Tables, Tombstone, current_of, current_seq
from tests.fakes.version_index import FakeVersionIndex


class FakeUploadLedger:
    def __init__(self, clock: Clock, replica: Replica, versions: FakeVersionIndex) -> None:
        self._clock = clock
        self._replica = replica
        self._versions = versions

    @property
    def uploads(self) -> dict[UploadId, Upload]:
        return self._replica.local.uploads

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        wanted = intent.idempotency
        for other in self._writable().values():
            held = other.intent.idempotency
            if (
                wanted is not None
                and held is not None
                and other.intent.tenant == intent.tenant
                and (held.principal, held.key, held.ordinal)
                == (wanted.principal, wanted.key, wanted.ordinal)
            ):
                if other.ref.id not in self._replica.majority.uploads:
                    raise StoreUnavailable("who holds the idempotency key is not settled yet")
                return other
        upload = Upload(
            ref=UploadRef(intent.id, 1, owner),
            state=UploadState.OPEN,
            intent=intent,
            keys=(UsedKey(intent.blob_key),),
            created_at=self._clock.now,
            lease_until=self._lease(lease_s),
            progress=Progress(intent.declared_size_bytes) if intent.resumable else None,
        )
        self._save(upload)
        return upload

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        upload = self._owned(ref, *UNFINISHED)
        self._save(replace(upload, lease_until=self._lease(lease_s)))

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        intent = replace(upload.intent, blob_key=key)
        self._save(replace(upload, intent=intent, keys=(*upload.keys, UsedKey(key))))

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        if key not in {used.blob_key for used in upload.keys}:
            raise Fenced
        keys = tuple(
            UsedKey(key, multipart) if used.blob_key == key else used for used in upload.keys
        )
        self._save(replace(upload, keys=keys))

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        upload = self._owned(ref, UploadState.OPEN)
        self._save(
            replace(
                upload,
                state=UploadState.COMPLETING,
                completion=completion,
                completing_at=self._clock.now,
                lease_until=self._lease(lease_s),
            )
        )

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        commit = self.prepare_commit(ref, deadline_s=deadline_s, base_seq=base_seq)
        return self._replica.commit(commit, _landed(ref))

    def prepare_commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Callable[[], Upload]:
        """The transaction up to its commit, which is returned.

        The commit raises Conflict where another transaction changed the upload or the key first;
        the bucket was only read, so a change of it is no conflict.
        """
        return self._prepared(ref, self._owned(ref, UploadState.COMPLETING), base_seq)

    async def commit_whole(
        self,
        upload: Upload,
        completion: Completion,
        *,
        deadline_s: float,
        base_seq: int | None = None,
    ) -> Upload:
        commit = self.prepare_commit_whole(
            upload, completion, deadline_s=deadline_s, base_seq=base_seq
        )
        return self._replica.commit(commit, _landed(upload.ref))

    def prepare_commit_whole(
        self,
        upload: Upload,
        completion: Completion,
        *,
        deadline_s: float,
        base_seq: int | None = None,
    ) -> Callable[[], Upload]:
        """As `prepare_commit`."""
        opened = self._owned(upload.ref, UploadState.OPEN)
        if opened.intent.blob_key != upload.intent.blob_key:
            raise Fenced
        return self._prepared(upload.ref, opened, base_seq, completion)

    async def commit_all(self, staged: Sequence[Staged], *, deadline_s: float) -> list[Upload]:
        commit = self.prepare_commit_all(staged, deadline_s=deadline_s)
        return self._replica.commit(commit, _all_landed(staged))

    def prepare_commit_all(
        self, staged: Sequence[Staged], *, deadline_s: float
    ) -> Callable[[], list[Upload]]:
        """As `prepare_commit`; what one of them changed before another refused is taken back."""
        prepared = [
            self.prepare_commit(each.upload.ref, deadline_s=deadline_s)
            if each.completion.parts
            else self.prepare_commit_whole(each.upload, each.completion, deadline_s=deadline_s)
            for each in staged
        ]

        def apply() -> list[Upload]:
            before = self._replica.writable().copy()
            try:
                return [commit() for commit in prepared]
            except MediagateError:
                self._replica.local = before
                raise

        return apply

    def _prepared(
        self,
        ref: UploadRef,
        upload: Upload,
        base_seq: int | None,
        completion: Completion | None = None,
    ) -> Callable[[], Upload]:
        intent, tables = upload.intent, self._replica.local
        bucket = self._bucket(tables, intent)
        place = (intent.tenant, intent.bucket_id, intent.key)
        current, previous = current_of(tables, place), current_seq(tables, place)
        latest = current if isinstance(current, Version) else None
        if base_seq is not None and previous > base_seq:
            raise Conflict("something newer was committed")
        intent.preconditions.check_write(latest)
        source = self._source(intent)
        remove = source.prepare() if source else None

        def apply() -> Upload:
            tables = self._replica.writable()
            now_there = current_of(tables, place), current_seq(tables, place)
            if tables.uploads.get(ref.id) is not upload or now_there != (current, previous):
                raise Conflict("another transaction came first")
            if source is not None and remove is not None:
                source.after_seq = max(previous + 1, self._clock.milliseconds())
                remove()
            complete = replace(upload, completion=completion or upload.completion)
            return self._apply(tables, complete, current, previous, bucket)

        return apply

    def _source(self, intent: Intent) -> FakeDeletion | None:
        """What a move deletes in its commit, if that still is the version that was copied."""
        source = intent.moved_from
        if source is None:
            return None
        it = Preconditions(if_match=EntityTags((EntityTag(source.version),)))
        place = (intent.tenant, source.bucket_id, source.key)
        return FakeDeletion(self._clock, self._replica, place, it)

    def _bucket(self, tables: Tables, intent: Intent) -> Bucket:
        bucket = tables.buckets.get(intent.bucket_id)
        if bucket is None or bucket.tenant != intent.tenant:
            raise BucketNotFound
        if bucket.state is BucketState.DELETING:
            raise BucketDeleting
        return bucket

    def _apply(
        self,
        tables: Tables,
        upload: Upload,
        current: Entry | Tombstone | None,
        previous: int,
        bucket: Bucket,
    ) -> Upload:
        leftovers = tuple(used for used in upload.keys if used.blob_key != upload.intent.blob_key)
        committed = replace(
            upload,
            state=UploadState.COMMITTED,
            committed_at=self._clock.now,
            seq=max(previous + 1, self._clock.milliseconds()),
            replaced=isinstance(current, Version),
            leftovers=leftovers,
            clean_at=self._clock.now if leftovers else None,
            lease_until=None,
            progress=None,
            parts=(),
        )
        self._versions.put(tables, committed.version(), upload.ref.id, bucket)
        tables.uploads[upload.ref.id] = committed
        return committed

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        upload = self._owned(ref, *UNFINISHED)
        undoing = replace(upload, state=UploadState.UNDOING, lease_until=self._lease(lease_s))
        self._save(undoing)
        return undoing

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        found = self._writable().get(upload)
        if found is None or found.state not in UNDOABLE:
            return None
        return self._taken(found, owner, lease_s, UploadState.UNDOING)

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        found = self._writable().get(upload)
        if found is None or found.state not in UNFINISHED or not self._ran_out(found):
            return None
        return self._taken(found, owner, lease_s, found.state)

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        upload = self._owned(ref, UploadState.UNDOING)
        self._save(
            replace(
                upload,
                state=UploadState.UNDONE,
                intent=replace(upload.intent, idempotency=None),
                lease_until=None,
                clean_at=self._lease(look_again_s),
                progress=None,
                parts=(),
            )
        )

    async def get(self, upload: UploadId) -> Upload | None:
        return self._majority().get(upload)

    async def expired(self, *, limit: int) -> list[Upload]:
        found = [u for u in self._majority().values() if u.state in UNFINISHED and self._ran_out(u)]
        return found[:limit]

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        found = [
            u
            for u in self._majority().values()
            if u.state in UNDOABLE and (u.intent.tenant, u.intent.bucket_id) == (tenant, bucket)
        ]
        return found[:limit]

    async def due(self, *, limit: int) -> list[Upload]:
        now = self._clock.now
        found = [
            u for u in self._majority().values() if u.clean_at is not None and u.clean_at <= now
        ]
        return found[:limit]

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        found = self._writable()[upload]
        if look_again_s is None:
            self._save(replace(found, leftovers=(), clean_at=None, looks=found.looks + 1))
        else:
            again = self._lease(look_again_s)
            self._save(replace(found, clean_at=again, looks=found.looks + 1))

    async def forget(self, upload: UploadId) -> None:
        uploads = self._writable()
        if upload in uploads and uploads[upload].state is UploadState.UNDONE:
            del uploads[upload]

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        before = self._clock.now - timedelta(seconds=older_than_s)
        uploads = self._writable()
        old = [
            u.ref.id
            for u in uploads.values()
            if u.committed_at is not None and u.committed_at <= before and not u.leftovers
        ][:limit]
        for name in old:
            del uploads[name]
        return len(old)

    async def count(self) -> Mapping[UploadState, int]:
        counts: dict[UploadState, int] = {}
        for upload in self._majority().values():
            counts[upload.state] = counts.get(upload.state, 0) + 1
        return counts

    def _writable(self) -> dict[UploadId, Upload]:
        return self._replica.writable().uploads

    def _majority(self) -> dict[UploadId, Upload]:
        return self._replica.majority.uploads

    def _owned(self, ref: UploadRef, *states: UploadState) -> Upload:
        upload = self._writable().get(ref.id)
        if upload is None or upload.ref != ref or upload.state not in states:
            raise Fenced
        return upload

    def _taken(self, upload: Upload, owner: str, lease_s: float, state: UploadState) -> Upload:
        taken = replace(
            upload,
            ref=UploadRef(upload.ref.id, upload.ref.epoch + 1, owner),
            state=state,
            lease_until=self._lease(lease_s),
        )
        self._save(taken)
        return taken

    def _save(self, upload: Upload) -> None:
        self._writable()[upload.ref.id] = upload

    def _lease(self, lease_s: float) -> datetime:
        return self._clock.now + timedelta(seconds=lease_s)

    def _ran_out(self, upload: Upload) -> bool:
        return upload.lease_until is not None and upload.lease_until < self._clock.now


def _landed(ref: UploadRef) -> Callable[[Tables], Upload | None]:
    def landed(tables: Tables) -> Upload | None:
        found = tables.uploads.get(ref.id)
        return found if found and found.state is UploadState.COMMITTED else None

    return landed


def _all_landed(staged: Sequence[Staged]) -> Callable[[Tables], list[Upload] | None]:
    def landed(tables: Tables) -> list[Upload] | None:
        found = [_landed(each.upload.ref)(tables) for each in staged]
        uploads = [upload for upload in found if upload is not None]
        return uploads if len(uploads) == len(found) else None

    return landed
