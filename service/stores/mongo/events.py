"""Events <-> documents of the collection `events`, the outbox.

`pending: true` stands in an event from its transaction on until it is published, and the index
that the publisher reads holds only those: an event cannot be skipped, however late its
transaction is committed. `position` and `published_at` come when it is published.
"""

from __future__ import annotations

from service.model.api_key import ApiKey
from service.model.bucket import Bucket
from service.model.event import Event, EventType, Subject
from service.model.version import DeleteMarker, Version
from service.stores.mongo.documents import (
    api_key_in,
    api_key_out,
    bucket_in,
    bucket_out,
    marker_in,
    marker_out,
    version_in,
    version_out,
)
from service.stores.mongo.driver import Document


def event_in(event: Event) -> Document:
    return {
        "_id": event.id,
        "type": event.type.value,
        "tenant": event.tenant,
        "seq": event.seq,
        "at": event.at,
        "pending": True,
    } | _subject_in(event.of)


def _subject_in(of: Subject) -> Document:
    match of:
        case Version():
            return {"bucket_id": of.bucket_id, "key": of.key, "version": version_in(of)}
        case DeleteMarker():
            return {"bucket_id": of.bucket_id, "key": of.key, "marker": marker_in(of)}
        case Bucket():
            return {"bucket_id": of.id, "bucket": bucket_in(of)}
        case ApiKey():
            return {"api_key": api_key_in(of)}


def event_out(document: Document) -> Event:
    return Event(
        id=document["_id"],
        type=EventType(document["type"]),
        seq=document["seq"],
        at=document["at"],
        of=_subject_out(document),
    )


def _subject_out(document: Document) -> Subject:
    if "version" in document:
        return version_out(document["version"])
    if "marker" in document:
        return marker_out(document["marker"])
    if "bucket" in document:
        return bucket_out(document["bucket"])
    return api_key_out(document["api_key"])
