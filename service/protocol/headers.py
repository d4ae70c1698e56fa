"""Reading header fields: several lines of one field are one list (RFC 9110 §5.3)."""

from __future__ import annotations

import re

from multidict import MultiMapping

from service.errors import Invalid

TCHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PLAIN = re.compile(r"[\x20-\x7e\t]*")


def combined(headers: MultiMapping[str], name: str) -> str | None:
    """The field's lines joined with ", ", None where the field is absent."""
    lines = headers.getall(name, ())
    return ", ".join(line.strip(" \t") for line in lines) if lines else None


def plain(headers: MultiMapping[str], name: str, *, max_bytes: int = 1024) -> str | None:
    """A field that is kept as it came and sent back later: printable ASCII, at most `max_bytes`.

    None where it is absent or empty. Raises Invalid.
    """
    value = combined(headers, name)
    if not value:
        return None
    if not _PLAIN.fullmatch(value) or len(value) > max_bytes:
        raise Invalid(f"{name} must be at most {max_bytes} printable ASCII characters", field=name)
    return value
