"""Cursors of listings: opaque, versioned, and good for the query that they came from only.

base64url(version byte, 8 bytes of checksum over position and query, JSON list of strings). The
checksum is no secret: it tells a damaged or misplaced cursor, and whoever forges one can only start
elsewhere in what they may list anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

import orjson

from service.errors import InvalidCursor

_VERSION = b"\x01"
_CHECK_BYTES = 8
_MAX_CHARS = 8192


def encode_cursor(position: Sequence[str], query: Sequence[str]) -> str:
    """position: where to go on. query: what must be the same in the next request."""
    payload = orjson.dumps(list(position))
    raw = _VERSION + _checksum(payload, query) + payload
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, query: Sequence[str], *, length: int) -> tuple[str, ...]:
    """The position, of `length` strings. Raises InvalidCursor."""
    raw = _decode_base64url(cursor)
    payload = raw[1 + _CHECK_BYTES :]
    if raw[:1] != _VERSION or raw[1 : 1 + _CHECK_BYTES] != _checksum(payload, query):
        raise InvalidCursor("the cursor is damaged or belongs to another query")
    position = _strings(payload)
    if len(position) != length:
        raise InvalidCursor("the cursor belongs to another kind of listing")
    return position


def _decode_base64url(cursor: str) -> bytes:
    if len(cursor) > _MAX_CHARS or not cursor.isascii():
        raise InvalidCursor
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != cursor:
        raise InvalidCursor
    return raw


def _strings(payload: bytes) -> tuple[str, ...]:
    try:
        position = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise InvalidCursor from error
    if not isinstance(position, list) or not all(isinstance(item, str) for item in position):
        raise InvalidCursor
    return tuple(position)


def _checksum(payload: bytes, query: Sequence[str]) -> bytes:
    return hashlib.blake2b(
        payload + b"\x00" + orjson.dumps(list(query)), digest_size=_CHECK_BYTES
    ).digest()
