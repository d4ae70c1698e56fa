"""Resumable uploads over SQLite: further steps on the rows of the ledger (uploads.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from service.errors import Fenced
from service.model.ids import BlobKey, TenantId, UploadId
from service.model.resumable import Progress
from service.model.upload import Part, Upload, UploadRef, UploadState
from service.stores.sqlite.clock import in_future, now_ms, past
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
)
from service.stores.sqlite.resumable_rows import part_in, progress_in, progress_out, span_ms
from service.stores.sqlite.statements import change, insert, one
from service.stores.sqlite.upload_rows import intent_in, intent_out

_GOING_ON = (UploadState.OPEN, UploadState.SEALING)
_CLAIMED = """
    UPDATE uploads SET owner = ?, epoch = epoch + 1, progress = ?,
        lease_ms = coalesce(?, lease_ms) WHERE id = ?
"""
_SAVED = """
    UPDATE uploads SET state = ?, progress = ?, span_ms = ?, lease_ms = coalesce(?, lease_ms)
    WHERE id = ?
"""
_HAS_KEY = "SELECT 1 FROM upload_keys WHERE upload_id = ? AND blob_key = ?"
_HAND_OVER = "UPDATE upload_keys SET upload_id = ? WHERE upload_id = ? AND blob_key = ?"
_UNFINISHED = """
    SELECT * FROM uploads WHERE tenant = ? AND resumer IS NOT NULL AND resumer = ? AND id > ?
    ORDER BY id LIMIT ?
"""
_AGING = """
    SELECT * FROM uploads WHERE span_ms IS NOT NULL AND span_ms <= ? ORDER BY span_ms LIMIT ?
"""


class SqliteResumableLedger:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def claim(
        self, upload: UploadId, owner: str, offset: int, *, lease_s: float | None = None
    ) -> Upload | None:
        def work(db: Db) -> Upload | None:
            row = find_upload(db, upload)
            if row is None or row["state"] not in _GOING_ON or row["lease_ms"] < now_ms():
                return None
            if row["progress"] is None:
                return None
            found = progress_out(row["progress"])
            if found.closed or found.offset != offset:
                return None
            working = progress_in(replace(found, working=True))
            change(db, _CLAIMED, owner, working, _lease(lease_s), upload)
            return read_upload(db, upload)

        return await self._engine.write(work)

    async def note_key(self, ref: UploadRef, key: BlobKey) -> None:
        def work(db: Db) -> None:
            held(db, ref, (UploadState.OPEN,))
            add_key(db, ref.id, key)

        await self._engine.write(work)

    async def use_key(self, ref: UploadRef, key: BlobKey) -> None:
        def work(db: Db) -> None:
            held(db, ref, (UploadState.OPEN,))
            if one(db, _HAS_KEY, ref.id, key) is None:
                raise Fenced("the upload never noted this key")
            change(db, KEY_IN_USE, key, ref.id)

        await self._engine.write(work)

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
        def work(db: Db) -> None:
            held(db, ref, _GOING_ON)
            told = (progress_in(progress), span_ms(progress))
            change(db, _SAVED, state.value, *told, _lease(lease_s), ref.id)
            if anew:
                forget_parts(db, ref.id)
            for part in parts:
                insert(db, "upload_parts", part_in(ref.id, part))

        await self._engine.write(work)

    async def retire(self, ref: UploadRef, keys: Collection[BlobKey], look_again_s: float) -> None:
        def work(db: Db) -> None:
            row = held(db, ref, (UploadState.OPEN,))
            tombstone = intent_out(row).of_tombstone()
            values = {
                "state": UploadState.UNDONE.value,
                "epoch": ref.epoch,
                "owner": ref.owner,
                "created_ms": now_ms(),
                "clean_ms": in_future(look_again_s),
            }
            insert(db, "uploads", intent_in(tombstone) | values)
            for key in keys:
                change(db, _HAND_OVER, tombstone.id, ref.id, key)

        await self._engine.write(work)

    async def unfinished(
        self, tenant: TenantId, principal: str, *, after: str, limit: int
    ) -> list[Upload]:
        return await self._engine.read(listing(_UNFINISHED, tenant, principal, after, limit))

    async def aging(self, *, opened_before_s: float, limit: int) -> list[Upload]:
        return await self._engine.read(listing(_AGING, past(opened_before_s), limit))


def _lease(lease_s: float | None) -> int | None:
    return None if lease_s is None else in_future(lease_s)
