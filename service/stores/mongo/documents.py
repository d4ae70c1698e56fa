"""Values <-> documents, both ways.

Mappings whose names users choose (metadata, tags, digests) are stored as [{k, v}], so that no user
string is ever a field name. Fields that are None are left out where an index must not see them.
Times are aware UTC datetimes; the database keeps milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.model.api_key import ApiKey, Scope
from service.model.bucket import Bucket, BucketSettings, BucketState, Delivery
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.upload import (
    Completion,
    Idempotency,
    Intent,
    Part,
    Upload,
    UploadRef,
    UploadState,
    UsedKey,
)
from service.model.version import ObjectFacts, Version
from service.stores.mongo.driver import Document
from service.stores.mongo.searchable import searchable


def pairs_in(mapping: Mapping[str, Any]) -> list[Document]:
    return [{"k": name, "v": value} for name, value in mapping.items()]


def pairs_out(pairs: list[Document]) -> dict[str, Any]:
    return {pair["k"]: pair["v"] for pair in pairs}


def facts_in(facts: ObjectFacts) -> Document:
    return {
        "content_type": facts.content_type,
        "sniffed_type": facts.sniffed_type,
        "content_encoding": facts.content_encoding,
        "content_language": facts.content_language,
        "cache_control": facts.cache_control,
        "filename": facts.filename,
        "user_metadata": pairs_in(facts.user_metadata),
        "tags": pairs_in(facts.tags),
    }


def facts_out(document: Document) -> ObjectFacts:
    plain = {**document}
    plain["user_metadata"] = pairs_out(plain["user_metadata"])
    plain["tags"] = pairs_out(plain["tags"])
    return ObjectFacts(**plain)


def version_in(version: Version) -> Document:
    """The document of a current or kept version, with what searches read by."""
    return bare_version_in(version) | {"search": searchable(version)}


def bare_version_in(version: Version) -> Document:
    marks: Document = {} if version.damaged_at is None else {"damaged_at": version.damaged_at}
    if version.changed_seq:
        marks["changed_seq"] = version.changed_seq
    return marks | {
        "_id": version.id,
        "kind": "object",
        "tenant": version.tenant,
        "bucket_id": version.bucket_id,
        "key": version.key,
        "latest": version.latest,
        "seq": version.seq,
        "blob_key": version.blob_key,
        "size_bytes": version.size_bytes,
        "digests": pairs_in(version.digests),
        "facts": facts_in(version.facts),
        "created_at": version.created_at,
        "modified_at": version.modified_at,
        "revision": version.revision,
    }


def version_out(document: Document) -> Version:
    return Version(
        id=document["_id"],
        tenant=document["tenant"],
        bucket_id=document["bucket_id"],
        key=document["key"],
        blob_key=document["blob_key"],
        size_bytes=document["size_bytes"],
        digests=pairs_out(document["digests"]),
        facts=facts_out(document["facts"]),
        seq=document["seq"],
        created_at=document["created_at"],
        modified_at=document["modified_at"],
        revision=document["revision"],
        latest=document["latest"],
        damaged_at=document.get("damaged_at"),
        changed_seq=document.get("changed_seq", 0),
    )


def last_seq_out(entry: Document) -> int:
    """`seq` of the last change of a key, by its current entry: a version or a tombstone."""
    return int(max(entry["seq"], entry.get("changed_seq", 0)))


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
    if intent.idempotency is not None:
        document["idempotency"] = {**asdict(intent.idempotency), "held": True}
    return document


def intent_out(document: Document) -> Intent:
    named = document.get("idempotency")
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
    )


def settings_in(settings: BucketSettings) -> Document:
    return {
        **asdict(settings),
        "allowed_content_types": list(settings.allowed_content_types),
        "delivery": settings.delivery.value,
    }


def settings_out(document: Document) -> BucketSettings:
    """A bucket that was made before there was a choice of delivery has the default."""
    return BucketSettings(
        max_object_size_bytes=document["max_object_size_bytes"],
        allowed_content_types=tuple(document["allowed_content_types"]),
        cache_control=document["cache_control"],
        delivery=Delivery(document.get("delivery", Delivery.PROXY)),
    )


def bucket_in(bucket: Bucket) -> Document:
    return {
        "_id": bucket.id,
        "tenant": bucket.tenant,
        "name": bucket.name,
        "state": bucket.state.value,
        "created_at": bucket.created_at,
        "revision": bucket.revision,
        "settings": settings_in(bucket.settings),
    }


def bucket_out(document: Document) -> Bucket:
    return Bucket(
        id=document["_id"],
        tenant=document["tenant"],
        name=document["name"],
        state=BucketState(document["state"]),
        created_at=document["created_at"],
        revision=document["revision"],
        settings=settings_out(document["settings"]),
    )


def api_key_in(key: ApiKey) -> Document:
    document = asdict(key)
    document["_id"] = document.pop("id")
    return document | {
        "scopes": sorted(scope.value for scope in key.scopes),
        "buckets": list(key.buckets),
        "prefixes": list(key.prefixes),
    }


def api_key_out(document: Document) -> ApiKey:
    plain = {**document}
    return ApiKey(
        id=plain.pop("_id"),
        scopes=frozenset(Scope(name) for name in plain.pop("scopes")),
        buckets=tuple(plain.pop("buckets")),
        prefixes=tuple(plain.pop("prefixes")),
        **plain,
    )
