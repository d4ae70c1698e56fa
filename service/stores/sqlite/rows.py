"""Versions, buckets, API keys <-> rows, both ways.

What users name (metadata, tags, digests) is JSON; bytes in it are hexadecimal. `own_subject` and
the other facts of a row are as in `service/model/version.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson

from service.model.api_key import ApiKey, Scope
from service.model.bucket import Bucket, BucketSettings, BucketState, Delivery
from service.model.version import DeleteMarker, Entry, ObjectFacts, Version
from service.stores.sqlite.clock import in_ms, maybe_moment, moment
from service.stores.sqlite.driver import Row

OBJECT, MARKER, TOMBSTONE = "object", "marker", "tombstone"
"""The kinds of rows in `versions`."""

Values = dict[str, Any]


def json_in(value: Any) -> str:
    return orjson.dumps(value).decode()


def json_out(text: str) -> Any:
    return orjson.loads(text)


def digests_in(digests: Any) -> str:
    return json_in({name: digest.hex() for name, digest in digests.items()})


def digests_out(text: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(digest) for name, digest in json_out(text).items()}


def facts_in(facts: ObjectFacts) -> str:
    return json_in(asdict(facts))


def facts_out(text: str) -> ObjectFacts:
    return ObjectFacts(**json_out(text))


def version_in(version: Version) -> Values:
    """The row of a version that counts; `no` comes by itself."""
    return {
        "id": version.id,
        "kind": OBJECT,
        "tenant": version.tenant,
        "bucket_id": version.bucket_id,
        "key": version.key,
        "latest": int(version.latest),
        "live": 1,
        "seq": version.seq,
        "changed_seq": version.changed_seq,
        "own_subject": int(version.own_subject),
        "blob_key": version.blob_key,
        "size_bytes": version.size_bytes,
        "digests": digests_in(version.digests),
        "facts": facts_in(version.facts),
        "created_ms": in_ms(version.created_at),
        "modified_ms": in_ms(version.modified_at),
        "revision": version.revision,
        "damaged_ms": None if version.damaged_at is None else in_ms(version.damaged_at),
        "dead_ms": None,
    }


def version_out(row: Row) -> Version:
    return Version(
        id=row["id"],
        tenant=row["tenant"],
        bucket_id=row["bucket_id"],
        key=row["key"],
        blob_key=row["blob_key"],
        size_bytes=row["size_bytes"],
        digests=digests_out(row["digests"]),
        facts=facts_out(row["facts"]),
        seq=row["seq"],
        created_at=moment(row["created_ms"]),
        modified_at=moment(row["modified_ms"]),
        revision=row["revision"],
        latest=bool(row["latest"]),
        damaged_at=maybe_moment(row["damaged_ms"]),
        changed_seq=row["changed_seq"],
        own_subject=bool(row["own_subject"]),
    )


def _bare(kind: str) -> Values:
    """What a row without content says."""
    empty = ("blob_key", "size_bytes", "digests", "facts", "created_ms", "modified_ms", "revision")
    flags = {"kind": kind, "changed_seq": 0, "own_subject": 0, "damaged_ms": None, "dead_ms": None}
    return dict.fromkeys(empty) | flags


def marker_in(marker: DeleteMarker) -> Values:
    return _bare(MARKER) | {
        "id": marker.id,
        "tenant": marker.tenant,
        "bucket_id": marker.bucket_id,
        "key": marker.key,
        "latest": int(marker.latest),
        "live": 1,
        "seq": marker.seq,
        "changed_seq": marker.changed_seq,
        "created_ms": in_ms(marker.created_at),
    }


def marker_out(row: Row) -> DeleteMarker:
    return DeleteMarker(
        id=row["id"],
        tenant=row["tenant"],
        bucket_id=row["bucket_id"],
        key=row["key"],
        seq=row["seq"],
        created_at=moment(row["created_ms"]),
        latest=bool(row["latest"]),
        changed_seq=row["changed_seq"],
    )


def tombstone_in(id: str, tenant: str, bucket_id: str, key: str, seq: int, at_ms: int) -> Values:
    """What a key without any entry leaves: the order of its changes."""
    return _bare(TOMBSTONE) | {
        "id": id,
        "tenant": tenant,
        "bucket_id": bucket_id,
        "key": key,
        "latest": 1,
        "live": 0,
        "seq": seq,
        "dead_ms": at_ms,
    }


def entry_out(row: Row) -> Entry:
    return version_out(row) if row["kind"] == OBJECT else marker_out(row)


def last_seq_out(row: Row) -> int:
    """`seq` of the last change of a key, by its current entry, whatever kind it is."""
    return int(max(row["seq"], row["changed_seq"]))


def settings_in(settings: BucketSettings) -> str:
    return json_in(asdict(settings))


def settings_out(text: str) -> BucketSettings:
    plain = json_out(text)
    plain["allowed_content_types"] = tuple(plain["allowed_content_types"])
    return BucketSettings(**plain | {"delivery": Delivery(plain["delivery"])})


def bucket_in(bucket: Bucket) -> Values:
    return {
        "id": bucket.id,
        "tenant": bucket.tenant,
        "name": bucket.name,
        "state": bucket.state.value,
        "created_ms": in_ms(bucket.created_at),
        "revision": bucket.revision,
        "settings": settings_in(bucket.settings),
        "has_kept": int(bucket.has_kept),
        "deletion": None,
    }


def bucket_out(row: Row) -> Bucket:
    return Bucket(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        state=BucketState(row["state"]),
        created_at=moment(row["created_ms"]),
        revision=row["revision"],
        settings=settings_out(row["settings"]),
        has_kept=bool(row["has_kept"]),
    )


def api_key_in(key: ApiKey) -> Values:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "secret_sha256": key.secret_sha256,
        "scopes": json_in(sorted(scope.value for scope in key.scopes)),
        "buckets": json_in(key.buckets),
        "prefixes": json_in(key.prefixes),
        "created_ms": in_ms(key.created_at),
        "expires_ms": None if key.expires_at is None else in_ms(key.expires_at),
        "revoked_ms": None if key.revoked_at is None else in_ms(key.revoked_at),
    }


def api_key_out(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        secret_sha256=row["secret_sha256"],
        scopes=frozenset(Scope(name) for name in json_out(row["scopes"])),
        buckets=tuple(json_out(row["buckets"])),
        prefixes=tuple(json_out(row["prefixes"])),
        created_at=moment(row["created_ms"]),
        expires_at=maybe_moment(row["expires_ms"]),
        revoked_at=maybe_moment(row["revoked_ms"]),
    )
