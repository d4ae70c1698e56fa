"""A line of an export's manifest: one object as JSON, digests in base64, times RFC 3339.

The fields are those of a version's JSON where they say the same; `name` is relative to the depot.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import orjson

from service.errors import Invalid
from service.model.depot import Exported
from service.model.version import ObjectFacts

_FACTS = tuple(field.name for field in fields(ObjectFacts))


def manifest_line(exported: Exported) -> bytes:
    """With its line end."""
    told: dict[str, Any] = {
        "name": exported.name,
        "size_bytes": exported.size_bytes,
        "version": exported.version,
        "created_at": exported.created_at.astimezone(UTC),
        "modified_at": exported.modified_at.astimezone(UTC),
        **asdict(exported.facts),
        "digests": {
            name: base64.b64encode(value).decode() for name, value in exported.digests.items()
        },
    }
    return orjson.dumps(told) + b"\n"


def parse_manifest_line(line: bytes) -> Exported:
    """Raises Invalid."""
    try:
        told = orjson.loads(line)
        return Exported(
            name=told["name"],
            size_bytes=told["size_bytes"],
            version=told["version"],
            created_at=datetime.fromisoformat(told["created_at"]),
            modified_at=datetime.fromisoformat(told["modified_at"]),
            facts=ObjectFacts(**{name: told[name] for name in _FACTS if name in told}),
            digests={
                name: base64.b64decode(value, validate=True)
                for name, value in told["digests"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("the manifest has a line that no export wrote") from error
