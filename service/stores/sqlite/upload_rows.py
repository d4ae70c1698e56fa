"""The ledger's values <-> rows of `uploads` and `upload_keys`; rows.py says what holds for all.

`principal` and what follows it stand in a row as long as the upload holds its idempotency key.
`parts` are apart from the rest of the completion: up to 10,000 of them, over a megabyte, they are
not kept past the commit, nor read where many uploads are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import (
    Completion,
    Idempotency,
    Intent,
    MovedFrom,
    Part,
    Upload,
    UploadRef,
    UploadState,
    UsedKey,
)
from service.stores.sqlite.clock import in_ms, maybe_moment, moment
from service.stores.sqlite.driver import Row
from service.stores.sqlite.resumable_rows import (
    part_out,
    progress_out,
    progress_values,
    terms_in,
    terms_out,
)
from service.stores.sqlite.rows import (
    Values,
    digests_in,
    digests_out,
    facts_in,
    facts_out,
    json_in,
    json_out,
)


def _tags_out(plain: dict[str, Any] | None) -> EntityTags | None:
    if plain is None:
        return None
    return EntityTags(tuple(EntityTag(**tag) for tag in plain["tags"]), any=plain["any"])


def _preconditions_out(plain: dict[str, Any]) -> Preconditions:
    since, unless = plain["if_modified_since"], plain["if_unmodified_since"]
    return Preconditions(
        if_match=_tags_out(plain["if_match"]),
        if_none_match=_tags_out(plain["if_none_match"]),
        if_modified_since=since and datetime.fromisoformat(since),
        if_unmodified_since=unless and datetime.fromisoformat(unless),
    )


def intent_in(intent: Intent) -> Values:
    named = intent.idempotency
    return {
        "id": intent.id,
        "version_id": intent.version_id,
        "tenant": intent.tenant,
        "bucket_id": intent.bucket_id,
        "key": intent.key,
        "blob_key": intent.blob_key,
        "intent": json_in(
            {
                "facts": facts_in(intent.facts),
                "preconditions": asdict(intent.preconditions),
                "declared_size_bytes": intent.declared_size_bytes,
                "staged": intent.staged,
                "moved_from": intent.moved_from and asdict(intent.moved_from),
                "resumable": intent.resumable and terms_in(intent.resumable),
            }
        ),
        "principal": named and named.principal,
        "idempotency_key": named and named.key,
        "ordinal": named and named.ordinal,
        "fingerprint": named and named.fingerprint,
    }


def intent_out(row: Row) -> Intent:
    plain = json_out(row["intent"])
    moved_from, terms = plain["moved_from"], plain.get("resumable")
    idempotency = None
    if row["principal"] is not None:
        idempotency = Idempotency(
            row["principal"], row["idempotency_key"], row["ordinal"], row["fingerprint"]
        )
    return Intent(
        id=row["id"],
        version_id=row["version_id"],
        tenant=row["tenant"],
        bucket_id=row["bucket_id"],
        key=row["key"],
        blob_key=row["blob_key"],
        facts=facts_out(plain["facts"]),
        preconditions=_preconditions_out(plain["preconditions"]),
        declared_size_bytes=plain["declared_size_bytes"],
        idempotency=idempotency,
        staged=plain["staged"],
        moved_from=moved_from and MovedFrom(**moved_from),
        resumable=terms and terms_out(terms),
    )


def completion_in(completion: Completion) -> str:
    """Without the parts."""
    return json_in(
        {
            "size_bytes": completion.size_bytes,
            "digests": digests_in(completion.digests),
            "facts": facts_in(completion.facts),
            "base_seq": completion.base_seq,
        }
    )


def parts_in(parts: Sequence[Part]) -> str:
    return json_in(
        [
            [part.number, part.size_bytes, part.etag, part.checksum and part.checksum.hex()]
            for part in parts
        ]
    )


def _completion_out(text: str, parts: str | None) -> Completion:
    plain = json_out(text)
    return Completion(
        size_bytes=plain["size_bytes"],
        digests=digests_out(plain["digests"]),
        facts=facts_out(plain["facts"]),
        parts=tuple(
            Part(number, size_bytes, etag, checksum and bytes.fromhex(checksum))
            for number, size_bytes, etag, checksum in json_out(parts or "[]")
        ),
        base_seq=plain["base_seq"],
    )


def upload_out(
    row: Row, keys: Sequence[Row], *, with_parts: bool, parts: Sequence[Row] = ()
) -> Upload:
    """keys, parts: its rows of `upload_keys` and `upload_parts`, in order."""
    completion = None
    if row["completion"] is not None:
        completion = _completion_out(row["completion"], row["parts"] if with_parts else None)
    used = [(UsedKey(each["blob_key"], each["multipart_id"]), each["leftover"]) for each in keys]
    return Upload(
        ref=UploadRef(row["id"], row["epoch"], row["owner"]),
        state=UploadState(row["state"]),
        intent=intent_out(row),
        keys=tuple(key for key, _ in used),
        created_at=moment(row["created_ms"]),
        lease_until=maybe_moment(row["lease_ms"]),
        completion=completion,
        completing_at=maybe_moment(row["completing_ms"]),
        committed_at=maybe_moment(row["committed_ms"]),
        seq=row["seq"],
        replaced=bool(row["replaced"]),
        leftovers=tuple(key for key, leftover in used if leftover),
        clean_at=maybe_moment(row["clean_ms"]),
        looks=row["looks"],
        progress=None if row["progress"] is None else progress_out(row["progress"]),
        parts=tuple(map(part_out, parts)),
    )


def upload_in(upload: Upload) -> Values:
    """The whole row; `upload_keys_in` has those of its keys."""

    def ms(at: datetime | None) -> int | None:
        return None if at is None else in_ms(at)

    completion = upload.completion
    parts = completion.parts if completion is not None else ()
    return intent_in(upload.intent) | {
        "state": upload.state.value,
        "epoch": upload.ref.epoch,
        "owner": upload.ref.owner,
        "created_ms": in_ms(upload.created_at),
        "lease_ms": ms(upload.lease_until),
        "completion": completion and completion_in(completion),
        "parts": parts_in(parts) if parts else None,
        "completing_ms": ms(upload.completing_at),
        "committed_ms": ms(upload.committed_at),
        "seq": upload.seq,
        "replaced": int(upload.replaced),
        "clean_ms": ms(upload.clean_at),
        "looks": upload.looks,
        **progress_values(upload.intent.resumable, upload.progress),
    }


def upload_keys_in(upload: Upload) -> list[Values]:
    left = {key.blob_key for key in upload.leftovers}
    return [
        {
            "upload_id": upload.ref.id,
            "ordinal": ordinal,
            "blob_key": key.blob_key,
            "multipart_id": key.multipart_id,
            "leftover": int(key.blob_key in left),
        }
        for ordinal, key in enumerate(upload.keys)
    ]
