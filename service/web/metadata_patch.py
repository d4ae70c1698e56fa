"""`PATCH /v1/buckets/{bucket}/metadata/{key}`: a JSON merge patch over the facts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from aiohttp import hdrs, web
from pydantic import AfterValidator, Field, StringConstraints

from service.errors import (
    BucketNotFound,
    ObjectNotFound,
    OutcomeUnknown,
    PreconditionFailed,
    UnsupportedMedia,
)
from service.protocol.conditionals import format_etag, parse_preconditions
from service.protocol.content_disposition import MAX_FILENAME_BYTES, clean_filename
from service.protocol.headers import TCHARS
from service.protocol.http_dates import format_http_date
from service.protocol.media_types import MAX_TYPE_BYTES
from service.protocol.user_metadata import MAX_TAG_NAME_CHARS, MAX_TAG_VALUE_CHARS
from service.usecases.change_metadata import FactsPatch, change_metadata
from service.web.describe import Json, Reply, describe
from service.web.fields import ETAG, IF_MATCH, LAST_MODIFIED, HeaderField
from service.web.json import Body, answer, read_body
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.version_answer import VersionAnswer, shown

_META_NAME = "^" + TCHARS.replace("A-Z", "") + "$"
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
_FILENAME = (
    r"^(?!\s)(?!.*\s$)(?!\.{1,2}$)"
    r"[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+$"
)
"""What `clean_filename` leaves as it is, for other people's programs (ECMA-262)."""


def _file_name(name: str) -> str:
    if clean_filename(name) != name:
        raise ValueError("is no file name: without a path, control characters and outer spaces")
    return name


MediaType = Annotated[
    str,
    StringConstraints(
        pattern=rf"^{TCHARS}/{TCHARS}([ \t]*;([\x20-\x7e\t]*[\x21-\x7e])?)?$",
        max_length=MAX_TYPE_BYTES,
    ),
]
HeaderText = Annotated[
    str, StringConstraints(pattern=r"^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$", max_length=1024)
]
FileName = Annotated[
    str,
    Field(max_length=MAX_FILENAME_BYTES, json_schema_extra={"pattern": _FILENAME}),
    AfterValidator(_file_name),
]
MetaName = Annotated[str, StringConstraints(pattern=_META_NAME)]
MetaValue = Annotated[str, StringConstraints(pattern=_TEXT)]
TagName = Annotated[
    str, StringConstraints(pattern=_TEXT, min_length=1, max_length=MAX_TAG_NAME_CHARS)
]
TagValue = Annotated[str, StringConstraints(pattern=_TEXT, max_length=MAX_TAG_VALUE_CHARS)]


def _names(**rules: Any) -> Any:
    """pydantic tells the rules of names in a way that lets others through beside them."""
    return Field(
        None,
        json_schema_extra=lambda schema: _with_names(schema, rules),
    )


def _with_names(schema: dict[str, Any], rules: dict[str, Any]) -> None:
    mapping = next(each for each in schema["anyOf"] if each.get("type") == "object")
    values = mapping.pop("patternProperties", None)
    if values is not None:
        (mapping["additionalProperties"],) = values.values()
    mapping["propertyNames"] = rules


class FactsBody(Body):
    """What is not sent stays as it is; null removes, or brings a default back.

    user_metadata, tags: merged name by name. Names of user metadata are in lower case.
    """

    max_body_bytes: ClassVar[int] = 256 << 10
    content_type: MediaType | None = None
    cache_control: HeaderText | None = None
    content_encoding: HeaderText | None = None
    content_language: HeaderText | None = None
    filename: FileName | None = None
    user_metadata: dict[MetaName, MetaValue | None] | None = _names(pattern=_META_NAME)
    tags: dict[TagName, TagValue | None] | None = _names(
        pattern=_TEXT, minLength=1, maxLength=MAX_TAG_NAME_CHARS
    )

    def patch(self) -> FactsPatch:
        return FactsPatch({name: getattr(self, name) for name in self.model_fields_set})


@describe(
    "Change the facts of an object.",
    headers=(
        *IF_MATCH,
        HeaderField("If-None-Match", "Only where the entity tag is none of these."),
        HeaderField("If-Unmodified-Since", "Only where it was not changed after this HTTP date."),
    ),
    body=Json(FactsBody, merge_patch=True),
    answers={200: Reply(VersionAnswer, ETAG, LAST_MODIFIED)},
    problems=(
        BucketNotFound,
        ObjectNotFound,
        OutcomeUnknown,
        PreconditionFailed,
        UnsupportedMedia,
    ),
)
async def patch_metadata(request: web.Request) -> web.Response:
    """The version with a new revision; the same as before where the patch changes nothing."""
    target = request[TARGET]
    body = await read_body(request, FactsBody)
    version = await change_metadata(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        target.bucket,
        target.key,
        body.patch(),
        parse_preconditions(request.headers),
    )
    headers: dict[str, str] = {
        hdrs.ETAG: format_etag(version.metadata_etag),
        hdrs.LAST_MODIFIED: format_http_date(version.modified_at),
    }
    return answer(shown(target.bucket, version), headers=headers)
