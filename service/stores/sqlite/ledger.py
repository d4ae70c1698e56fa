"""Reads and compare-and-sets on the rows of uploads, which every step of the ledger is made of."""

from __future__ import annotations

from collections.abc import Collection

from service.errors import Fenced
from service.model.upload import Upload, UploadRef, UploadState
from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.statements import many, one
from service.stores.sqlite.upload_rows import upload_out

_BY_ID = "SELECT * FROM uploads WHERE id = ?"
_KEYS = "SELECT * FROM upload_keys WHERE upload_id = ? ORDER BY ordinal"


def keys_of(db: Db, upload: str) -> list[Row]:
    return many(db, _KEYS, upload)


def find_upload(db: Db, upload: str) -> Row | None:
    return one(db, _BY_ID, upload)


def read_upload(db: Db, upload: str, *, with_parts: bool = True) -> Upload | None:
    row = find_upload(db, upload)
    return None if row is None else whole(db, row, with_parts=with_parts)


def whole(db: Db, row: Row, *, with_parts: bool = True) -> Upload:
    return upload_out(row, keys_of(db, row["id"]), with_parts=with_parts)


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
