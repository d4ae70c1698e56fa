"""Prefixes in UTF-8 byte order, which is the order of code points."""

from __future__ import annotations

_LAST = "\U0010ffff"
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


def successor(prefix: str) -> str | None:
    """The smallest string above every string that starts with `prefix`; None where there is none.

    Surrogates are no characters of UTF-8, so U+D7FF is followed by U+E000.
    """
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    last = stem[-1]
    following = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1)
    return stem[:-1] + following
