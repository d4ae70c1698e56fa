"""Events as lines of JSON: what the journal keeps.

Bytes are hexadecimal, times RFC 3339. `subject` and `seq` stand in every line beside the facts, so
that lines can be sorted and merged without being understood. A field that a later release adds is
ignored here; one that is missing gets the model's default.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar

import orjson

from service.model.api_key import ApiKey, Scope
from service.model.bucket import Bucket, BucketSettings, BucketState, Delivery
from service.model.event import Event, EventType, Subject
from service.model.ids import EventId
from service.model.version import DeleteMarker, ObjectFacts, Version

T = TypeVar("T")


def event_line(event: Event, position: int) -> bytes:
    """One line without its end."""
    return orjson.dumps(
        {
            "subject": event.subject,
            "seq": event.seq,
            "id": event.id,
            "position": position,
            "type": event.type.value,
            "at": event.at,
            _kind(event.of): _plain(asdict(event.of)),
        }
    )


def parse_event(line: bytes) -> Event:
    """Raises ValueError, KeyError or TypeError for what is no event."""
    fields_ = orjson.loads(line)
    return Event(
        id=EventId(fields_["id"]),
        type=EventType(fields_["type"]),
        seq=fields_["seq"],
        at=datetime.fromisoformat(fields_["at"]),
        of=_subject(fields_),
    )


def _kind(of: Subject) -> str:
    match of:
        case Version():
            return "version"
        case DeleteMarker():
            return "marker"
        case Bucket():
            return "bucket"
        case ApiKey():
            return "api_key"


def _plain(value: Any) -> Any:
    """What JSON knows: bytes as hexadecimal, sets in order."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case frozenset():
            return sorted(value)
        case tuple() | list():
            return [_plain(each) for each in value]
    return value


def _subject(line: dict[str, Any]) -> Subject:
    if "version" in line:
        return _version(line["version"])
    if "marker" in line:
        return _of(DeleteMarker, line["marker"] | _times(line["marker"], "created_at"))
    if "bucket" in line:
        return _bucket(line["bucket"])
    return _api_key(line["api_key"])


def _version(plain: dict[str, Any]) -> Version:
    digests = {name: bytes.fromhex(digest) for name, digest in plain["digests"].items()}
    times = _times(plain, "created_at", "modified_at", "damaged_at")
    facts = _of(ObjectFacts, plain["facts"])
    return _of(Version, plain | times | {"digests": digests, "facts": facts})


def _bucket(plain: dict[str, Any]) -> Bucket:
    chosen = plain["settings"]
    choices = {
        "allowed_content_types": tuple(chosen["allowed_content_types"]),
        "delivery": Delivery(chosen.get("delivery", Delivery.PROXY)),
    }
    settings = _of(BucketSettings, chosen | choices)
    state = BucketState(plain["state"])
    return _of(Bucket, plain | _times(plain, "created_at") | {"settings": settings, "state": state})


def _api_key(plain: dict[str, Any]) -> ApiKey:
    changes = _times(plain, "created_at", "expires_at", "revoked_at") | {
        "secret_sha256": bytes.fromhex(plain["secret_sha256"]),
        "scopes": frozenset(Scope(name) for name in plain["scopes"]),
        "buckets": tuple(plain["buckets"]),
        "prefixes": tuple(plain["prefixes"]),
    }
    return _of(ApiKey, plain | changes)


def _times(plain: dict[str, Any], *names: str) -> dict[str, datetime | None]:
    return {
        name: datetime.fromisoformat(plain[name]) if plain.get(name) else None for name in names
    }


def _of(kind: type[T], plain: dict[str, Any]) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in plain.items() if name in known})
