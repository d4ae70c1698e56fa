"""The write ledger over SQLite.

Each step is a transaction that reads the upload's row, checks {epoch, owner, state} and changes it.
`lease_ms` exists only while an upload is unfinished, `clean_ms` only while its keys are to be
looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.errors import Fenced
from service.model.ids import BlobKey, BucketId, MultipartId, TenantId, UploadId
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
)
from service.stores.sqlite.clock import in_future, now_ms, past
from service.stores.sqlite.commit import Commit, commit_of, whole_commit
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.ledger import (
    KEY_IN_USE,
    add_key,
    find_upload,
    forget_parts,
    held,
    listing,
    read_upload,
    whole,
)
from service.stores.sqlite.resumable_rows import progress_values
from service.stores.sqlite.statements import change, insert, many, one
from service.stores.sqlite.upload_rows import completion_in, intent_in, parts_in

_HOLDER = """
    SELECT * FROM uploads WHERE tenant = ? AND principal = ? AND idempotency_key = ?
        AND ordinal = ?
"""
_LEASE = "UPDATE uploads SET lease_ms = ? WHERE id = ?"
_MULTIPART = "UPDATE upload_keys SET multipart_id = ? WHERE upload_id = ? AND blob_key = ?"
_COMPLETING = """
    UPDATE uploads SET state = 'completing', completion = ?, parts = ?, completing_ms = ?,
        lease_ms = ? WHERE id = ?
"""
_STATE = "UPDATE uploads SET state = ?, lease_ms = ? WHERE id = ?"
_NEW_OWNER = "UPDATE uploads SET owner = ?, epoch = epoch + 1, lease_ms = ?, state = ? WHERE id = ?"
_UNDONE = """
    UPDATE uploads SET state = 'undone', clean_ms = ?, lease_ms = NULL, parts = NULL,
        principal = NULL, idempotency_key = NULL, ordinal = NULL, fingerprint = NULL,
        resumer = NULL, progress = NULL, span_ms = NULL
    WHERE id = ?
"""
_EXPIRED = """
    SELECT * FROM uploads WHERE lease_ms IS NOT NULL AND lease_ms < ? ORDER BY lease_ms LIMIT ?
"""
_UNDOABLE_IN = """
    SELECT * FROM uploads WHERE bucket_id = ?
        AND state IN ('admitting', 'open', 'sealing', 'completing') AND tenant = ? LIMIT ?
"""
_DUE = """
    SELECT * FROM uploads WHERE clean_ms IS NOT NULL AND clean_ms <= ? ORDER BY clean_ms LIMIT ?
"""
_LOOK_AGAIN = """
    UPDATE uploads SET clean_ms = ?, looks = looks + 1
    WHERE id = ? AND state IN ('committed', 'undone')
"""
_SETTLED = "UPDATE uploads SET clean_ms = NULL WHERE id = ? AND state = 'committed'"
_NO_LEFTOVERS = "UPDATE upload_keys SET leftover = 0 WHERE upload_id = ?"
_FORGET = "DELETE FROM uploads WHERE id = ? AND state = 'undone'"
_FORGET_COMMITTED = """
    DELETE FROM uploads WHERE no IN (
        SELECT no FROM uploads
        WHERE state = 'committed' AND clean_ms IS NULL AND committed_ms <= ?
        ORDER BY committed_ms LIMIT ?
    )
"""
_COUNTS = "SELECT state, count(*) AS uploads FROM uploads GROUP BY state"


class SqliteUploadLedger:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def admit(self, intent: Intent, owner: str, lease_s: float) -> Upload:
        values = intent_in(intent) | {"state": UploadState.OPEN.value, "epoch": 1, "owner": owner}
        if intent.resumable is not None:
            first = Progress(intent.declared_size_bytes)
            values |= progress_values(intent.resumable, first)

        def work(db: Db) -> Upload:
            named = intent.idempotency
            if named is not None:
                key = (intent.tenant, named.principal, named.key, named.ordinal)
                earlier = one(db, _HOLDER, *key)
                if earlier is not None:
                    return whole(db, earlier)
            elif (there := read_upload(db, intent.id)) is not None:
                return there
            times = {"created_ms": now_ms(), "lease_ms": in_future(lease_s)}
            insert(db, "uploads", values | times)
            add_key(db, intent.id, intent.blob_key)
            return _required(read_upload(db, intent.id))

        return await self._engine.write(work)

    async def renew(self, ref: UploadRef, lease_s: float) -> None:
        def work(db: Db) -> None:
            held(db, ref, UNFINISHED)
            change(db, _LEASE, in_future(lease_s), ref.id)

        await self._engine.write(work)

    async def switch_key(self, ref: UploadRef, key: BlobKey) -> None:
        def work(db: Db) -> None:
            held(db, ref, (UploadState.OPEN,))
            change(db, KEY_IN_USE, key, ref.id)
            add_key(db, ref.id, key)

        await self._engine.write(work)

    async def save_multipart(self, ref: UploadRef, key: BlobKey, multipart: MultipartId) -> None:
        def work(db: Db) -> None:
            held(db, ref, (UploadState.OPEN,))
            if not change(db, _MULTIPART, multipart, ref.id, key):
                raise Fenced("the upload never used this key")

        await self._engine.write(work)

    async def complete(self, ref: UploadRef, completion: Completion, lease_s: float) -> None:
        facts = (completion_in(completion), parts_in(completion.parts))

        def work(db: Db) -> None:
            held(db, ref, (UploadState.OPEN,))
            change(db, _COMPLETING, *facts, now_ms(), in_future(lease_s), ref.id)

        await self._engine.write(work)

    async def commit(
        self, ref: UploadRef, *, deadline_s: float, base_seq: int | None = None
    ) -> Upload:
        return await self._engine.write(Commit(ref, base_seq).run, deadline_s=deadline_s)

    async def commit_whole(
        self,
        upload: Upload,
        completion: Completion,
        *,
        deadline_s: float,
        base_seq: int | None = None,
    ) -> Upload:
        commit = whole_commit(upload, completion, base_seq)
        return await self._engine.write(commit.run, deadline_s=deadline_s)

    async def commit_all(self, staged: Sequence[Staged], *, deadline_s: float) -> list[Upload]:
        commits = [commit_of(each) for each in staged]
        return await self._engine.write(
            lambda db: [commit.run(db) for commit in commits], deadline_s=deadline_s
        )

    async def begin_undo(self, ref: UploadRef, lease_s: float) -> Upload:
        def work(db: Db) -> Upload:
            held(db, ref, UNFINISHED)
            change(db, _STATE, UploadState.UNDOING.value, in_future(lease_s), ref.id)
            return _required(read_upload(db, ref.id))

        return await self._engine.write(work)

    async def fence(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        def work(db: Db) -> Upload | None:
            found = find_upload(db, upload)
            if found is None or found["state"] not in UNDOABLE:
                return None
            undoing = UploadState.UNDOING.value
            change(db, _NEW_OWNER, owner, in_future(lease_s), undoing, upload)
            return read_upload(db, upload)

        return await self._engine.write(work)

    async def take_over(self, upload: UploadId, owner: str, lease_s: float) -> Upload | None:
        def work(db: Db) -> Upload | None:
            found = find_upload(db, upload)
            if found is None or found["state"] not in UNFINISHED or found["lease_ms"] >= now_ms():
                return None
            change(db, _NEW_OWNER, owner, in_future(lease_s), found["state"], upload)
            return read_upload(db, upload)

        return await self._engine.write(work)

    async def finish_undo(self, ref: UploadRef, look_again_s: float) -> None:
        def work(db: Db) -> None:
            held(db, ref, (UploadState.UNDOING,))
            change(db, _UNDONE, in_future(look_again_s), ref.id)
            forget_parts(db, ref.id)

        await self._engine.write(work)

    async def get(self, upload: UploadId) -> Upload | None:
        return await self._engine.read(lambda db: read_upload(db, upload))

    async def expired(self, *, limit: int) -> list[Upload]:
        return await self._engine.read(listing(_EXPIRED, now_ms(), limit))

    async def undoable_in(self, tenant: TenantId, bucket: BucketId, *, limit: int) -> list[Upload]:
        return await self._engine.read(listing(_UNDOABLE_IN, bucket, tenant, limit))

    async def due(self, *, limit: int) -> list[Upload]:
        return await self._engine.read(listing(_DUE, now_ms(), limit))

    async def cleaned(self, upload: UploadId, *, look_again_s: float | None) -> None:
        def work(db: Db) -> None:
            if look_again_s is not None:
                change(db, _LOOK_AGAIN, in_future(look_again_s), upload)
            # A tombstone keeps its date until it is forgotten, or nobody would ever find it.
            elif change(db, _SETTLED, upload):
                change(db, _NO_LEFTOVERS, upload)

        await self._engine.write(work)

    async def forget(self, upload: UploadId) -> None:
        await self._engine.write(lambda db: change(db, _FORGET, upload))

    async def forget_committed(self, *, older_than_s: float, limit: int) -> int:
        before = past(older_than_s)
        return await self._engine.write(lambda db: change(db, _FORGET_COMMITTED, before, limit))

    async def count(self) -> Mapping[UploadState, int]:
        def work(db: Db) -> dict[str, int]:
            return {row["state"]: row["uploads"] for row in many(db, _COUNTS)}

        found = await self._engine.read(work)
        return {state: found.get(state.value, 0) for state in UploadState}


def _required(upload: Upload | None) -> Upload:
    assert upload is not None
    return upload
