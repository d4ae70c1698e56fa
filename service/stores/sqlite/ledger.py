"""Reads and compare-and-sets on the rows of uploads, which every step of the ledger is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection

from service.errors import Fenced
from service.model.upload import Upload, UploadRef, UploadState
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.statements import change, many, one
from service.stores.sqlite.upload_rows import upload_out

_BY_ID = "SELECT * FROM uploads WHERE id = ?"
_KEYS = "SELECT * FROM upload_keys WHERE upload_id = ? ORDER BY ordinal"
_PARTS = "SELECT * FROM upload_parts WHERE upload_id = ? ORDER BY number"
KEY_IN_USE = "UPDATE uploads SET blob_key = ? WHERE id = ?"
_ADD_KEY = """
    INSERT INTO upload_keys (upload_id, ordinal, blob_key)
    SELECT ?, coalesce(max(ordinal), -1) + 1, ? FROM upload_keys WHERE upload_id = ?
"""
_FORGET_PARTS = "DELETE FROM upload_parts WHERE upload_id = ?"


def keys_of(db: Db, upload: str) -> list[Row]:
    return many(db, _KEYS, upload)


def add_key(db: Db, upload: str, key: str) -> None:
    change(db, _ADD_KEY, upload, key, upload)


def find_upload(db: Db, upload: str) -> Row | None:
    return one(db, _BY_ID, upload)


def read_upload(db: Db, upload: str, *, with_parts: bool = True) -> Upload | None:
    row = find_upload(db, upload)
    return None if row is None else whole(db, row, with_parts=with_parts)


def whole(db: Db, row: Row, *, with_parts: bool = True) -> Upload:
    parts = many(db, _PARTS, row["id"]) if with_parts and row["progress"] is not None else ()
    return upload_out(row, keys_of(db, row["id"]), with_parts=with_parts, parts=parts)


def held(db: Db, ref: UploadRef, states: Collection[UploadState]) -> Row:
    """The row of an upload that is under this epoch and owner and in one of the states.

    Nobody else writes before the transaction ends, so it stays so. Raises Fenced.
    """
    row = find_upload(db, ref.id)
    if row is None or (row["epoch"], row["owner"]) != (ref.epoch, ref.owner):
        raise Fenced
    if row["state"] not in states:
        raise Fenced
    return row


def forget_parts(db: Db, upload: str) -> None:
    """Those of a resumable upload's span."""
    change(db, _FORGET_PARTS, upload)


def listing(sql: str, *values: object) -> Callable[[Db], list[Upload]]:
    """A read of uploads without their parts, which can be long."""

    def work(db: Db) -> list[Upload]:
        return [whole(db, row, with_parts=False) for row in many(db, sql, *values)]

    return work
