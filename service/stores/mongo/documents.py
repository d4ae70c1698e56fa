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
from service.model.version import DeleteMarker, Entry, ObjectFacts, Version
from service.stores.mongo.driver import Document

OBJECT, MARKER, TOMBSTONE = "object", "marker", "tombstone"
"""The kinds of documents in `versions`."""


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
    marks: Document = {} if version.damaged_at is None else {"damaged_at": version.damaged_at}
    if version.changed_seq:
        marks["changed_seq"] = version.changed_seq
    if version.own_subject:
        marks["own_subject"] = True
    return marks | {
        "_id": version.id,
        "kind": OBJECT,
        "live": True,
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
        own_subject=document.get("own_subject", False),
    )


def marker_in(marker: DeleteMarker) -> Document:
    document: Document = {
        "_id": marker.id,
        "kind": MARKER,
        "live": True,
        "tenant": marker.tenant,
        "bucket_id": marker.bucket_id,
        "key": marker.key,
        "latest": marker.latest,
        "seq": marker.seq,
        "created_at": marker.created_at,
    }
    return document | ({"changed_seq": marker.changed_seq} if marker.changed_seq else {})


def marker_out(document: Document) -> DeleteMarker:
    return DeleteMarker(
        id=document["_id"],
        tenant=document["tenant"],
        bucket_id=document["bucket_id"],
        key=document["key"],
        seq=document["seq"],
        created_at=document["created_at"],
        latest=document["latest"],
        changed_seq=document.get("changed_seq", 0),
    )


def entry_out(document: Document) -> Entry:
    return version_out(document) if document["kind"] == OBJECT else marker_out(document)


def last_seq_out(entry: Document) -> int:
    """`seq` of the last change of a key, by its current entry, whatever kind it is."""
    return int(max(entry["seq"], entry.get("changed_seq", 0)))


def settings_in(settings: BucketSettings) -> Document:
    return {
        **asdict(settings),
        "allowed_content_types": list(settings.allowed_content_types),
        "delivery": settings.delivery.value,
    }


def settings_out(document: Document) -> BucketSettings:
    """A bucket that was made before there was a choice has the default."""
    return BucketSettings(
        max_object_size_bytes=document["max_object_size_bytes"],
        allowed_content_types=tuple(document["allowed_content_types"]),
        cache_control=document["cache_control"],
        delivery=Delivery(document.get("delivery", Delivery.PROXY)),
        versioning=document.get("versioning", False),
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
        "has_kept": bucket.has_kept,
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
        has_kept=document.get("has_kept", False),
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
