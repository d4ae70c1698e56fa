"""The ledger's values <-> documents, both ways; documents.py says what holds for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

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
from service.stores.mongo.documents import facts_in, facts_out, pairs_in, pairs_out
from service.stores.mongo.driver import Document
from service.stores.mongo.resumable_documents import progress_in, progress_out, terms_in, terms_out


def _tags_out(document: Document | None) -> EntityTags | None:
    if document is None:
        return None
    return EntityTags(tuple(EntityTag(**tag) for tag in document["tags"]), any=document["any"])


def preconditions_in(preconditions: Preconditions) -> Document:
    return asdict(preconditions)


def preconditions_out(document: Document) -> Preconditions:
    return Preconditions(
        if_match=_tags_out(document["if_match"]),
        if_none_match=_tags_out(document["if_none_match"]),
        if_modified_since=document["if_modified_since"],
        if_unmodified_since=document["if_unmodified_since"],
    )


def completion_in(completion: Completion) -> Document:
    return {
        "size_bytes": completion.size_bytes,
        "digests": pairs_in(completion.digests),
        "facts": facts_in(completion.facts),
        "parts": [asdict(part) for part in completion.parts],
        "base_seq": completion.base_seq,
    }


def completion_out(document: Document) -> Completion:
    return Completion(
        size_bytes=document["size_bytes"],
        digests=pairs_out(document["digests"]),
        facts=facts_out(document["facts"]),
        parts=tuple(Part(**part) for part in document.get("parts", ())),
        base_seq=document["base_seq"],
    )


def intent_in(intent: Intent) -> Document:
    """The intent's fields lie at the top of the upload's document.

    `idempotency.held` is what the unique index looks at; `undone` removes `idempotency`.
    """
    document: Document = {
        "_id": intent.id,
        "version_id": intent.version_id,
        "tenant": intent.tenant,
        "bucket_id": intent.bucket_id,
        "key": intent.key,
        "blob_key": intent.blob_key,
        "facts": facts_in(intent.facts),
        "preconditions": preconditions_in(intent.preconditions),
        "declared_size_bytes": intent.declared_size_bytes,
    }
    if intent.moved_from is not None:
        document["moved_from"] = asdict(intent.moved_from)
    if intent.idempotency is not None:
        document["idempotency"] = {**asdict(intent.idempotency), "held": True}
    if intent.staged:
        document["staged"] = True
    if intent.resumable is not None:
        document["resumable"] = terms_in(intent.resumable)
    return document


def intent_out(document: Document) -> Intent:
    named, moved_from = document.get("idempotency"), document.get("moved_from")
    return Intent(
        id=document["_id"],
        version_id=document["version_id"],
        tenant=document["tenant"],
        bucket_id=document["bucket_id"],
        key=document["key"],
        blob_key=document["blob_key"],
        facts=facts_out(document["facts"]),
        preconditions=preconditions_out(document["preconditions"]),
        declared_size_bytes=document["declared_size_bytes"],
        idempotency=named
        and Idempotency(**{name: value for name, value in named.items() if name != "held"}),
        staged=document.get("staged", False),
        moved_from=moved_from and MovedFrom(**moved_from),
        resumable=terms_out(document["resumable"]) if "resumable" in document else None,
    )


def _keys_out(documents: list[Document]) -> tuple[UsedKey, ...]:
    return tuple(UsedKey(used["blob_key"], used.get("multipart_id")) for used in documents)


def upload_out(document: Document) -> Upload:
    completion = document.get("completion")
    return Upload(
        ref=UploadRef(document["_id"], document["epoch"], document["owner"]),
        state=UploadState(document["state"]),
        intent=intent_out(document),
        keys=_keys_out(document["keys"]),
        created_at=document["created_at"],
        lease_until=document.get("lease_until"),
        completion=completion and completion_out(completion),
        completing_at=document.get("completing_at"),
        committed_at=document.get("committed_at"),
        seq=document.get("seq"),
        replaced=document.get("replaced", False),
        leftovers=_keys_out(document.get("leftovers", [])),
        clean_at=document.get("clean_at"),
        looks=document.get("looks", 0),
        progress=progress_out(document["progress"]) if "progress" in document else None,
        parts=tuple(Part(**part) for part in document.get("parts", ())),
    )


def keys_in(keys: Iterable[UsedKey]) -> list[Document]:
    named = [asdict(used) for used in keys]
    return [{k: v for k, v in each.items() if v is not None} for each in named]


def upload_in(upload: Upload) -> Document:
    """The whole document."""
    committed = upload.state is UploadState.COMMITTED
    document = intent_in(upload.intent) | {
        "state": upload.state.value,
        "epoch": upload.ref.epoch,
        "owner": upload.ref.owner,
        "keys": keys_in(upload.keys),
        "looks": upload.looks,
    }
    if upload.completion is not None:
        document["completion"] = completion_in(upload.completion)
    if committed:
        settled, left = upload.clean_at is None, keys_in(upload.leftovers)
        document |= {"replaced": upload.replaced, "settled": settled, "leftovers": left}
    if upload.progress is not None:
        document |= {"progress": progress_in(upload.progress), "listed": True}
        document["parts"] = [asdict(part) for part in upload.parts]
    marks = {
        "created_at": upload.created_at,
        "lease_until": upload.lease_until,
        "completing_at": upload.completing_at,
        "committed_at": upload.committed_at,
        "seq": upload.seq,
        "clean_at": upload.clean_at,
    }
    return document | {name: value for name, value in marks.items() if value is not None}
