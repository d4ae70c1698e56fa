"""What all writes have in common: how their fields are read, and what they answer."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from aiohttp import hdrs, web
from multidict import MultiMapping

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    DigestMismatch,
    Fenced,
    IdempotencyMismatch,
    OutcomeUnknown,
    PreconditionFailed,
    RequestInProgress,
    StoreFull,
    TooLarge,
    UnsupportedMedia,
)
from service.model.upload import Idempotency
from service.model.version import ObjectFacts
from service.protocol.conditionals import format_etag
from service.protocol.content_disposition import parse_filename
from service.protocol.digests import format_digests
from service.protocol.headers import plain
from service.protocol.media_types import parse_content_type
from service.protocol.user_metadata import parse_tags, parse_user_metadata
from service.settings import Limits
from service.usecases.put_object import PutResult
from service.web.describe import Reply
from service.web.fields import LOCATION, REPR_DIGEST, HeaderField
from service.web.fields import REPLAYED as IDEMPOTENCY_REPLAYED
from service.web.json import answer
from service.web.state import PRINCIPAL, TARGET
from service.web.urls import absolute_url, object_path
from service.web.version_answer import VersionAnswer, shown

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# In a form each part has its own type, and a browser makes up another boundary each time.
_OF_THE_WHOLE_BODY = frozenset(("content-type", "content-length", "content-digest", "content-md5"))
_NAMES_THE_CONTENT = _OF_THE_WHOLE_BODY | {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "repr-digest",
    "x-tags",
}

WRITE_PROBLEMS = (
    BucketNotFound,
    BucketDeleting,
    DigestMismatch,
    Fenced,
    IdempotencyMismatch,
    OutcomeUnknown,
    PreconditionFailed,
    RequestInProgress,
    StoreFull,
    TooLarge,
    UnsupportedMedia,
)
"""What whatever commits a version may fail by."""
_ETAG = HeaderField("ETag", "A strong entity tag, once there is a version.")
_WRITTEN = (LOCATION, _ETAG, REPR_DIGEST, IDEMPOTENCY_REPLAYED)
WRITTEN = {
    201: Reply(VersionAnswer, *_WRITTEN, says="A new name."),
    200: Reply(VersionAnswer, *_WRITTEN, says="A name that was there: overwritten."),
}
"""How `told` answers."""


def facts_of(headers: MultiMapping[str], limits: Limits) -> ObjectFacts:
    """What the fields of a request, or of a form, say of an object. Raises Invalid."""
    disposition = headers.get(hdrs.CONTENT_DISPOSITION)
    return ObjectFacts(
        content_type=parse_content_type(headers.get(hdrs.CONTENT_TYPE)),
        content_encoding=plain(headers, hdrs.CONTENT_ENCODING),
        content_language=plain(headers, hdrs.CONTENT_LANGUAGE),
        cache_control=plain(headers, hdrs.CACHE_CONTROL),
        filename=parse_filename(disposition) if disposition else None,
        user_metadata=parse_user_metadata(headers, max_bytes=limits.max_metadata_bytes),
        tags=parse_tags(headers, max_tags=limits.max_tags),
    )


def idempotency_of(
    request: web.Request, bucket: str, key: str, *, ordinal: int = 0, about: str = ""
) -> Idempotency | None:
    """ordinal: which file of a form. about: what a body of JSON says.

    Raises Invalid for a key of more than 255 characters.
    """
    name = plain(request.headers, IDEMPOTENCY_KEY, max_bytes=255)
    if name is None:
        return None
    fingerprint = _fingerprint(request, bucket, key, about)
    return Idempotency(request[PRINCIPAL].id, name, ordinal, fingerprint)


def _fingerprint(request: web.Request, bucket: str, key: str, about: str) -> str:
    """What makes two requests the same: all that is known before the bytes."""
    is_form = request.content_type.startswith("multipart/")
    counted = _NAMES_THE_CONTENT - _OF_THE_WHOLE_BODY if is_form else _NAMES_THE_CONTENT
    fields = sorted(
        f"{name.lower()}:{value}"
        for name, value in request.headers.items()
        if name.lower() in counted or name.lower().startswith("x-meta-")
    )
    told = "\n".join([request.method, bucket, key, *fields, *([about] if about else [])])
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def told(request: web.Request, result: PutResult, *, bucket: str | None = None) -> web.Response:
    """bucket: its name, where it is not that of the path."""
    version, bucket = result.version, bucket or request[TARGET].bucket
    headers = {
        hdrs.LOCATION: absolute_url(request, object_path(bucket, version.key)),
        hdrs.ETAG: format_etag(version.etag),
        "Repr-Digest": format_digests(version.digests) or "",
    }
    if result.replayed:
        headers[REPLAYED] = "true"
    status = 201 if result.created else 200
    return answer(shown(bucket, version), status=status, headers=headers)


def named_file(facts: ObjectFacts, filename: str) -> ObjectFacts:
    """The same facts for a file that brings its own name."""
    return replace(facts, filename=filename)
