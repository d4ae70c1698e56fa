"""User metadata (`X-Meta-<name>: value`) and tags (`X-Tags: a=b&c=d`).

A value of metadata is plain ASCII or an extended value in UTF-8 (RFC 8187), and is sent back in the
same way; names are lower-case tokens. Tags are written like a query string; the limits of a tag are
those of S3.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes, urlencode

from multidict import MultiMapping

from service.errors import Invalid
from service.protocol.ext_values import decode_ext_value, encode_ext_value, looks_extended
from service.protocol.headers import TCHARS, combined

META_PREFIX = "X-Meta-"
MISSING_META = "X-Missing-Meta"
MAX_FIELD_BYTES, MAX_SENT_BYTES = 8_000, 16 << 10
"""Of one field, and of all `X-Meta-*` of an answer: many clients take no field over 8,190 bytes."""
MAX_TAG_NAME_CHARS, MAX_TAG_VALUE_CHARS = 128, 256
_NAME = re.compile(TCHARS)
_PLAIN = re.compile(r"[\x20-\x7e\t]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_user_metadata(headers: MultiMapping[str], *, max_bytes: int) -> dict[str, str]:
    """Every `X-Meta-<name>`, decoded; several lines of one name are joined with ", ".

    max_bytes: of all names and values together, in UTF-8. Raises Invalid.
    """
    metadata: dict[str, str] = {}
    for field, value in headers.items():
        if field[: len(META_PREFIX)].lower() != META_PREFIX.lower():
            continue
        name = field[len(META_PREFIX) :].lower()
        decoded = _decode(name, value)
        metadata[name] = f"{metadata[name]}, {decoded}" if name in metadata else decoded
    return validate_user_metadata(metadata, max_bytes=max_bytes)


def validate_user_metadata(metadata: Mapping[str, str], *, max_bytes: int) -> dict[str, str]:
    """The same with names in lower case. Raises Invalid."""
    checked: dict[str, str] = {}
    size_bytes = 0
    for given, value in metadata.items():
        name = given.lower()
        if not _NAME.fullmatch(name) or name in checked:
            raise Invalid("names of user metadata are unique header tokens", name=given)
        _refuse_controls(f"X-Meta-{name}", value)
        checked[name] = value
        size_bytes += len(name) + len(value.encode("utf-8"))
    if size_bytes > max_bytes:
        raise Invalid(
            f"user metadata may have {max_bytes} bytes in all",
            size_bytes=size_bytes,
            limit=max_bytes,
        )
    return checked


def _decode(name: str, value: str) -> str:
    value = value.strip(" \t")
    if looks_extended(value):
        decoded = decode_ext_value(value)
        if decoded is None:
            raise Invalid(f"X-Meta-{name} is no extended value of RFC 8187", field=f"X-Meta-{name}")
        return decoded
    if not _PLAIN.fullmatch(value):
        raise Invalid(
            f"X-Meta-{name} must be plain ASCII, or UTF-8''… with percent-escapes (RFC 8187)",
            field=f"X-Meta-{name}",
        )
    return value


def format_user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Header fields that `parse_user_metadata` reads back as they were.

    What clients and proxies would not take in a head is left out and counted in `X-Missing-Meta`;
    the metadata resource has all of it.
    """
    fields: dict[str, str] = {}
    room, missing = MAX_SENT_BYTES, 0
    for name, value in metadata.items():
        field, encoded = f"{META_PREFIX}{name}", _encode(value)
        size_bytes = len(field) + len(encoded)
        if size_bytes > min(MAX_FIELD_BYTES, room):
            missing += 1
            continue
        fields[field] = encoded
        room -= size_bytes
    return fields | ({MISSING_META: str(missing)} if missing else {})


def _encode(value: str) -> str:
    as_it_is = _PLAIN.fullmatch(value) and value == value.strip() and not looks_extended(value)
    return value if as_it_is else encode_ext_value(value)


def parse_tags(headers: MultiMapping[str], *, max_tags: int) -> dict[str, str]:
    """The tags of `X-Tags`, empty where there is none. Raises Invalid."""
    field = combined(headers, "X-Tags")
    return parse_tag_string(field, max_tags=max_tags) if field else {}


def parse_tag_string(text: str, *, max_tags: int) -> dict[str, str]:
    """`a=b&c=d`, percent-decoded once with `+` as a space. Raises Invalid."""
    tags: dict[str, str] = {}
    for pair in filter(None, text.split("&")):
        name, _, value = pair.partition("=")
        decoded = _unquote(name)
        if decoded in tags:
            raise Invalid("a tag is given twice", name=decoded)
        tags[decoded] = _unquote(value)
    return validate_tags(tags, max_tags=max_tags)


def validate_tags(tags: Mapping[str, str], *, max_tags: int) -> dict[str, str]:
    """A copy. Raises Invalid."""
    if len(tags) > max_tags:
        raise Invalid(f"an object has at most {max_tags} tags", limit=max_tags)
    for name, value in tags.items():
        if not 1 <= len(name) <= MAX_TAG_NAME_CHARS or len(value) > MAX_TAG_VALUE_CHARS:
            raise Invalid(
                f"a tag has a name of 1 to {MAX_TAG_NAME_CHARS} characters "
                f"and a value of at most {MAX_TAG_VALUE_CHARS}"
            )
        _refuse_controls("a tag", name + value)
    return dict(tags)


def _unquote(text: str) -> str:
    if not text.isascii() or _BAD_PERCENT.search(text):
        raise Invalid("X-Tags must be percent-encoded like a query string", field="X-Tags")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("X-Tags must be UTF-8 in percent-escapes", field="X-Tags") from error


def format_tags(tags: Mapping[str, str]) -> str | None:
    """The value of X-Tags, None where there are none."""
    return urlencode(tags) or None


def _refuse_controls(what: str, text: str) -> None:
    """Lone surrogates are no text, and controls other than tab and line ends only do harm."""
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n\r" for char in text):
        raise Invalid(f"{what} has a control character in it")
