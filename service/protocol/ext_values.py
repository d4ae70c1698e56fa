"""Extended values `UTF-8'en'%C3%A9` (RFC 8187 §3.2), which carry any text in ASCII."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

_EXT_VALUE = re.compile(
    r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'((?:%[0-9A-Fa-f]{2}|[A-Za-z0-9!#$&+\-.^_`|~])*)",
    re.IGNORECASE,
)
_ATTR_CHARS = "!#$&+-.^_`|~"


def looks_extended(value: str) -> bool:
    """Whether it starts like an extended value in UTF-8 and so must be read as one."""
    return re.match("utf-8'[A-Za-z0-9-]*'", value, re.IGNORECASE) is not None


def decode_ext_value(value: str) -> str | None:
    """None for what is malformed or does not decode in its own charset."""
    match = _EXT_VALUE.fullmatch(value)
    if match is None:
        return None
    try:
        return unquote_to_bytes(match[2]).decode(match[1])
    except UnicodeDecodeError:
        return None


def encode_ext_value(text: str) -> str:
    """Without a language; all but attr-char is percent-encoded."""
    return f"UTF-8''{quote(text, safe=_ATTR_CHARS)}"
