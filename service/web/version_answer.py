"""A version as JSON: what an upload, a listing and the metadata resource answer with."""

from __future__ import annotations

import base64

from service.model.version import Version
from service.protocol.conditionals import format_etag
from service.web.json import Answer, Timestamp


class VersionAnswer(Answer):
    """etag: quoted, as in the header. digests: base64 by the names of Repr-Digest.

    damaged_at: since when the stored bytes are known not to be these any more.
    """

    bucket: str
    key: str
    version: str
    etag: str
    size_bytes: int
    content_type: str
    sniffed_type: str | None
    content_encoding: str | None
    content_language: str | None
    cache_control: str | None
    filename: str | None
    digests: dict[str, str]
    user_metadata: dict[str, str]
    tags: dict[str, str]
    created_at: Timestamp
    modified_at: Timestamp
    revision: int
    damaged_at: Timestamp | None


def shown(bucket: str, version: Version) -> VersionAnswer:
    """bucket: its name."""
    facts = version.facts
    return VersionAnswer(
        bucket=bucket,
        key=version.key,
        version=version.id,
        etag=format_etag(version.etag),
        size_bytes=version.size_bytes,
        content_type=facts.content_type,
        sniffed_type=facts.sniffed_type,
        content_encoding=facts.content_encoding,
        content_language=facts.content_language,
        cache_control=facts.cache_control,
        filename=facts.filename,
        digests={
            name: base64.b64encode(value).decode("ascii")
            for name, value in sorted(version.digests.items())
        },
        user_metadata=dict(facts.user_metadata),
        tags=dict(facts.tags),
        created_at=version.created_at,
        modified_at=version.modified_at,
        revision=version.revision,
        damaged_at=version.damaged_at,
    )
