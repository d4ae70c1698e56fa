"""PATCH of metadata: a JSON merge patch (RFC 7396) over what the uploader said of an object.

It makes no new version: the content, its entity tag and all that is kept behind it stay; the
revision of the metadata and the time of its last change go on, in one transaction with the event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from service.errors import BucketNotFound, Invalid, ObjectNotFound, UnsupportedMedia
from service.model.bucket import Bucket
from service.model.ids import TenantId
from service.model.preconditions import Preconditions
from service.model.version import ObjectFacts, Version
from service.protocol.media_types import matches_any
from service.protocol.user_metadata import validate_tags, validate_user_metadata
from service.settings import Limits
from service.usecases.runtime import Runtime

_DEFAULTS = ObjectFacts()
WRITABLE = frozenset(each.name for each in fields(ObjectFacts)) - {"sniffed_type"}


@dataclass(frozen=True, slots=True)
class FactsPatch:
    """sent: field of WRITABLE -> its new value, None for the default. user_metadata and tags are
    mappings that are merged name by name, in which None removes."""

    sent: Mapping[str, Any]

    def applied(self, facts: ObjectFacts) -> ObjectFacts:
        return replace(facts, **{name: self._value(facts, name) for name in self.sent})

    def _value(self, facts: ObjectFacts, name: str) -> Any:
        value = self.sent[name]
        if value is None:
            return getattr(_DEFAULTS, name)
        if not isinstance(value, Mapping):
            return value
        merged = {**getattr(facts, name), **value}
        return {each: text for each, text in merged.items() if text is not None}


async def change_metadata(
    runtime: Runtime,
    tenant: TenantId,
    bucket: str,
    key: str,
    patch: FactsPatch,
    preconditions: Preconditions,
) -> Version:
    """The version that the key names, with its new facts; untouched where nothing changes.

    The preconditions are about the metadata resource.
    Raises BucketNotFound, ObjectNotFound, PreconditionFailed, UnsupportedMedia (a content type that
    the bucket does not take), Invalid (user metadata or tags past the limits), OutcomeUnknown.
    """
    found = await runtime.metadata.buckets.get(tenant, bucket)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    limits = runtime.settings.limits

    def change(facts: ObjectFacts) -> ObjectFacts:
        changed = patch.applied(facts)
        _check(facts, changed, found, limits)
        return changed

    version = await runtime.metadata.versions.change_facts(
        tenant,
        found.id,
        key,
        preconditions,
        change,
        deadline_s=runtime.settings.metadata.commit_timeout_s,
    )
    if version is None:
        raise ObjectNotFound(f"there is no object {key!r} in bucket {bucket!r}")
    return version


def _check(before: ObjectFacts, after: ObjectFacts, bucket: Bucket, limits: Limits) -> None:
    """Only what is changed: a limit that was lowered since makes no object unchangeable."""
    allowed = bucket.settings.allowed_content_types
    changed = after.content_type != before.content_type
    if changed and allowed and not matches_any(after.content_type, allowed):
        raise UnsupportedMedia(
            f"bucket {bucket.name!r} does not take {after.content_type}",
            allowed_content_types=list(allowed),
        )
    if after.user_metadata != before.user_metadata:
        with _naming("user_metadata"):
            validate_user_metadata(after.user_metadata, max_bytes=limits.max_metadata_bytes)
    if after.tags != before.tags:
        with _naming("tags"):
            validate_tags(after.tags, max_tags=limits.max_tags)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """What is wrong inside is wrong with this field."""
    try:
        yield
    except Invalid as error:
        problem = {"field": field, "problem": error.detail}
        extras = {name: value for name, value in error.extras.items() if name != "field"}
        raise Invalid(f"field `{field}`: {error.detail}", errors=[problem], **extras) from error
