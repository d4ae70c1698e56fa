"""Names on the wire: object keys and bucket names.

A key is any UTF-8 of 1 to 1,024 bytes without control characters, backslashes, empty, `.` and `..`
segments; nothing is normalised, so NFC and NFD are two keys. It is percent-decoded exactly once,
from the raw target: the framework's own decoding keeps `%2F` apart from `/`, leaves broken UTF-8
encoded and would make two spellings one key.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from service.errors import InvalidBucketName, InvalidKey

MAX_KEY_BYTES = 1024
_SEGMENTS_PATTERN = r"[^/\\\x00-\x1f\x7f-\x9f]+(/[^/\\\x00-\x1f\x7f-\x9f]+)*"
KEY_PATTERN = rf"^(?!(.*/)?\.{{1,2}}(/|$)){_SEGMENTS_PATTERN}$"
PREFIX_OF_KEYS_PATTERN = rf"^(?!(.*/)?\.{{1,2}}/)({_SEGMENTS_PATTERN}/?)?$"
BUCKET_PATTERN = (
    r"^(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)"
    r"(?!.*\.\.)(?!\d+(\.\d+){3}$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
)
PREFIX_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""The rules below for other people's programs, but for lengths in bytes (ECMA-262)."""
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def decode_path(raw: str) -> str:
    """Percent-decode a part of a raw request target, once; `+` stays `+`, `%2F` becomes a slash.

    raw: as on the wire; bytes that are no UTF-8 may stand in it as lone surrogates.
    Raises InvalidKey for a broken escape and for what is no UTF-8 (overlong forms included).
    """
    try:
        octets = raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidKey("the path is not UTF-8") from error
    if _BAD_PERCENT.search(octets):
        raise InvalidKey("the path has a broken percent-escape")
    try:
        return unquote_to_bytes(octets).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidKey("the path is not UTF-8") from error


def validate_key(key: str) -> str:
    """Return the key as it is. Raises InvalidKey."""
    try:
        size_bytes = len(key.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidKey("the key is not UTF-8") from error
    if not 1 <= size_bytes <= MAX_KEY_BYTES:
        raise InvalidKey(f"a key has 1 to {MAX_KEY_BYTES} bytes of UTF-8", size_bytes=size_bytes)
    if "\\" in key or has_controls(key):
        raise InvalidKey("a key has no control characters and no backslash")
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise InvalidKey("a key has no empty, `.` or `..` segment")
    return key


def validate_prefix(prefix: str) -> str:
    """Return the prefix of a listing as it is; it need not end at a segment. Raises InvalidKey."""
    try:
        size_bytes = len(prefix.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidKey("the prefix is not UTF-8") from error
    if size_bytes > MAX_KEY_BYTES or has_controls(prefix):
        raise InvalidKey(f"a prefix has at most {MAX_KEY_BYTES} bytes and no control characters")
    return prefix


def has_controls(text: str) -> bool:
    """Whether a control character is in it: C0 with NUL, DEL, C1."""
    return any(unicodedata.category(char) == "Cc" for char in text)


def validate_bucket_name(name: str) -> str:
    """Return the name as it is. Raises InvalidBucketName.

    Source: Amazon S3 user guide, "General purpose bucket naming rules".
    """
    if not _BUCKET.fullmatch(name):
        raise InvalidBucketName(
            "a bucket name has 3 to 63 lower-case letters, digits, hyphens and dots, "
            "with a letter or digit at both ends"
        )
    if ".." in name or _IP_ADDRESS.fullmatch(name):
        raise InvalidBucketName("a bucket name has no two dots in a row and is no IP address")
    if name.startswith(_RESERVED_PREFIXES) or name.endswith(_RESERVED_SUFFIXES):
        raise InvalidBucketName("S3 reserves this prefix or suffix of a bucket name")
    return name
