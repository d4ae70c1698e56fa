"""Dictionaries of structured fields, as far as digests need them (RFC 9651 §4.2.2)."""

from __future__ import annotations

import base64
import binascii
import re

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_INTEGER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
_OTHER = re.compile(
    r'-?[0-9]{1,12}\.[0-9]{1,3}|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|\?[01]|@-?[0-9]{1,15}'
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*"
)

Item = bytes | int | bool | str
"""A byte sequence, an integer, True for a bare key; anything else is left as its text."""


def parse_dictionary(field: str) -> dict[str, Item]:
    """Parameters are checked and dropped; of two members with one key the later counts.

    Raises ValueError for what is no dictionary of bare items; inner lists are refused.
    """
    members: dict[str, Item] = {}
    text = field.strip(" ")
    position = 0
    while position < len(text):
        name, position = _key(text, position)
        value, position = _value(text, position)
        members[name] = value
        position = _parameters(text, position)
        position = _skip(text, position, " \t")
        if position == len(text):
            break
        if text[position] != ",":
            raise ValueError(f"expected a comma at {position}")
        position = _skip(text, position + 1, " \t")
        if position == len(text):
            raise ValueError("a trailing comma")
    return members


def format_bytes(value: bytes) -> str:
    return f":{base64.b64encode(value).decode('ascii')}:"


def _key(text: str, position: int) -> tuple[str, int]:
    match = _KEY.match(text, position)
    if match is None:
        raise ValueError(f"expected a key at {position}")
    return match[0], match.end()


def _value(text: str, position: int) -> tuple[Item, int]:
    """The `=item` behind a key, True where there is none."""
    if not text.startswith("=", position):
        return True, position
    match = _BYTES.match(text, position + 1)
    if match:
        return _decode(match[1]), match.end()
    match = _INTEGER.match(text, position + 1)
    if match:
        return int(match[0]), match.end()
    match = _OTHER.match(text, position + 1)
    if match:
        return match[0], match.end()
    raise ValueError(f"expected a value at {position + 1}")


def _decode(encoded: str) -> bytes:
    try:
        # Padding may be missing: §4.2.7 asks parsers not to insist on it.
        padded = encoded.rstrip("=")
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _parameters(text: str, position: int) -> int:
    while text.startswith(";", position):
        _, position = _key(text, _skip(text, position + 1, " "))
        _, position = _value(text, position)
    return position


def _skip(text: str, position: int, chars: str) -> int:
    while position < len(text) and text[position] in chars:
        position += 1
    return position
