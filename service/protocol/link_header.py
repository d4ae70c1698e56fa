"""`Link` (RFC 8288)."""

from __future__ import annotations

import re

_URI_REFERENCE = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")


def format_link(uri: str, rel: str) -> str:
    """uri: absolute or relative, already encoded; rel: a registered relation type."""
    if not _URI_REFERENCE.fullmatch(uri):
        raise ValueError(f"not an encoded URI: {uri!r}")
    return f'<{uri}>; rel="{rel}"'
