"""Where an upload goes and what is said of it, from whatever its protocol has for that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import Field

from service.errors import Forbidden, Invalid
from service.model.api_key import Scope
from service.model.upload import Upload
from service.model.version import ObjectFacts
from service.protocol.content_disposition import clean_filename
from service.protocol.media_types import parse_content_type
from service.protocol.names import validate_bucket_name, validate_key
from service.protocol.tus import parse_metadata
from service.protocol.user_metadata import validate_user_metadata
from service.settings import Limits
from service.usecases.authorize import authorize
from service.web.query import Query
from service.web.state import PRINCIPAL

_BUCKET = ("bucket", "bucketName")
_KEY = ("key", "objectName")
_FILENAME = ("filename", "name")
_TYPE = ("filetype", "type", "contentType")
_CACHE_CONTROL = ("cacheControl",)
_PRINTABLE = re.compile(r"[\x20-\x7e\t]+")
_KNOWN = {*_BUCKET, *_KEY, *_FILENAME, *_TYPE, *_CACHE_CONTROL}


class PlaceQuery(Query):
    bucket: str | None = Field(None, description="Where the object goes.")
    key: str | None = Field(None, description="The object's key.")


@dataclass(frozen=True, slots=True)
class Place:
    """Valid names, of an object that the principal may write; both "" for none."""

    bucket: str = ""
    key: str = ""


def place_of(request: web.Request, bucket: str | None, key: str | None) -> Place:
    """Raises Invalid, InvalidBucketName, InvalidKey, Forbidden."""
    if not bucket or not key:
        raise Invalid("an upload needs a bucket and a key", field="Upload-Metadata")
    place = Place(validate_bucket_name(bucket), validate_key(key))
    authorize(request[PRINCIPAL], Scope.WRITE, bucket=place.bucket, key=place.key)
    return place


def authorize_upload(request: web.Request, upload: Upload) -> None:
    """Whoever may write the object may go on with its upload; a partial one has no object yet, and
    is its creator's. Raises Forbidden."""
    terms, principal = upload.intent.resumable, request[PRINCIPAL]
    is_others = terms is not None and not terms.bucket and terms.principal != principal.id
    if is_others and Scope.ADMIN not in principal.scopes:
        raise Forbidden("this partial upload was created with another API key")
    bucket = terms.bucket if terms and terms.bucket else None
    authorize(principal, Scope.WRITE, bucket=bucket, key=upload.intent.key or None)


@dataclass(frozen=True, slots=True)
class Described:
    """What Upload-Metadata says, the names that mean something here taken out."""

    bucket: str | None
    key: str | None
    facts: ObjectFacts


def described(field: str | None, limits: Limits) -> Described:
    """The other pairs are user metadata. Without a key the file's name is one. Raises Invalid."""
    told = parse_metadata(field) if field else {}
    pairs = {name: _text(name, value) for name, value in told.items()}
    named = _first(pairs, _FILENAME)
    filename = clean_filename(named) if named else None
    rest = {name: value for name, value in pairs.items() if name not in _KNOWN}
    facts = ObjectFacts(
        content_type=parse_content_type(_first(pairs, _TYPE)),
        cache_control=_plain(_first(pairs, _CACHE_CONTROL)),
        filename=filename,
        user_metadata=validate_user_metadata(rest, max_bytes=limits.max_metadata_bytes),
    )
    return Described(_first(pairs, _BUCKET), _first(pairs, _KEY) or filename, facts)


def _first(pairs: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """An empty value says nothing: browsers send one for a type that they do not know."""
    return next((pairs[name] for name in names if pairs.get(name)), None)


def _plain(value: str | None) -> str | None:
    if value is not None and not (_PRINTABLE.fullmatch(value) and len(value) <= 1024):
        raise Invalid("cacheControl is a header field's value", field="Upload-Metadata")
    return value


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"Upload-Metadata: {name} is not UTF-8", field="Upload-Metadata") from error
