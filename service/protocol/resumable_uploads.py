"""The header fields of Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, interop
version 8), read and written.

They are structured fields. One that is malformed counts as absent, as the draft wants it.
"""

from __future__ import annotations

from multidict import MultiMapping

from service.protocol.headers import combined
from service.protocol.structured import parse_dictionary

INTEROP_VERSION = "8"
MEDIA_TYPE = "application/partial-upload"
UPLOAD_COMPLETE = "Upload-Complete"
UPLOAD_LIMIT = "Upload-Limit"
UPLOAD_DRAFT_INTEROP_VERSION = "Upload-Draft-Interop-Version"
_MAX_INTEGER = 999_999_999_999_999


def read_complete(headers: MultiMapping[str]) -> bool | None:
    """Upload-Complete; None where it is absent or no Boolean."""
    value = _item(headers, UPLOAD_COMPLETE)
    return {"?1": True, "?0": False}.get(value) if isinstance(value, str) else None


def read_integer(headers: MultiMapping[str], name: str) -> int | None:
    """A non-negative Integer; None where it is absent or anything else."""
    value = _item(headers, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _item(headers: MultiMapping[str], name: str) -> object:
    """An Item, read as the only member of a Dictionary."""
    field = combined(headers, name)
    if field is None:
        return None
    try:
        members = parse_dictionary(f"item={field.strip(' ')}")
    except ValueError:
        return None
    return members["item"] if len(members) == 1 else None


def format_complete(complete: bool) -> str:
    return "?1" if complete else "?0"


def format_limit(*, max_size: int, max_age: int | None = None) -> str:
    """sizes in bytes, the age in seconds from now."""
    limits = {"max-size": max_size, "max-age": max_age}
    return ", ".join(
        f"{name}={min(value, _MAX_INTEGER)}" for name, value in limits.items() if value is not None
    )


def speaks_this_version(headers: MultiMapping[str]) -> bool:
    """Whether a client is told of interim responses at all."""
    return combined(headers, UPLOAD_DRAFT_INTEROP_VERSION) == INTEROP_VERSION
