"""The header fields of tus 1.0.0, read and written. Source: https://tus.io/protocols/resumable-upload

Upload-Metadata: filename aG9saWRheS5tcDQ=,is_public
Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=
Upload-Concat: final;/v1/uploads/a /v1/uploads/b
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from service.errors import DigestMismatch, Invalid
from service.model.ids import UploadId
from service.protocol.names import decode_path

VERSION = "1.0.0"
MEDIA_TYPE = "application/offset+octet-stream"
UPLOADS = "/v1/uploads"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
)
CONCATENATION = "concatenation"
"""Only where the store of bytes copies parts."""
CHECKSUMS: Mapping[str, tuple[str, int]] = {
    "sha1": ("sha", 20),
    "sha256": ("sha-256", 32),
    "sha512": ("sha-512", 64),
    "md5": ("md5", 16),
    "crc32c": ("crc32c", 4),
}
"""tus's name of an algorithm -> that of Repr-Digest, and how many bytes it has."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")


class TusVersionMismatch(Invalid):
    code = "tus_version_mismatch"
    title = "This version of tus is not spoken here"


class ChecksumMismatch(DigestMismatch):
    code = "checksum_mismatch"
    title = "The bytes do not match the checksum"


@dataclass(frozen=True, slots=True)
class Partial:
    """`Upload-Concat: partial`."""


@dataclass(frozen=True, slots=True)
class Final:
    """`Upload-Concat: final;…`, the uploads in their order."""

    partial: tuple[UploadId, ...]


def parse_number(value: str, field: str) -> int:
    """A non-negative integer. Raises Invalid."""
    if not _NUMBER.fullmatch(value):
        raise Invalid(f"{field} is a non-negative integer", field=field)
    return int(value)


def parse_metadata(value: str) -> dict[str, bytes]:
    """The pairs of Upload-Metadata in their order. Raises Invalid."""
    pairs: dict[str, bytes] = {}
    for pair in value.split(","):
        name, _, encoded = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(name):
            raise _malformed("a key has printable ASCII characters but no space or comma")
        if name in pairs:
            raise _malformed(f"the key {name!r} is given twice")
        pairs[name] = _decode(encoded, "Upload-Metadata")
    return pairs


def format_metadata(pairs: Mapping[str, bytes]) -> str:
    return ",".join(
        f"{name} {base64.b64encode(value).decode('ascii')}" if value else name
        for name, value in pairs.items()
    )


def _malformed(why: str) -> Invalid:
    return Invalid(f"Upload-Metadata: {why}", field="Upload-Metadata")


def _decode(encoded: str, field: str) -> bytes:
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Invalid(f"{field}: a value is not base64", field=field) from error


def parse_checksum(value: str) -> dict[str, bytes]:
    """One digest, under its name in Repr-Digest. Raises Invalid, also for another algorithm."""
    name, _, encoded = value.strip(" \t").partition(" ")
    if name not in CHECKSUMS:
        raise Invalid(
            f"Upload-Checksum: {name!r} is none of {', '.join(CHECKSUMS)}", field="Upload-Checksum"
        )
    algorithm, size_bytes = CHECKSUMS[name]
    digest = _decode(encoded, "Upload-Checksum")
    if len(digest) != size_bytes:
        raise Invalid(f"Upload-Checksum: {name} has {size_bytes} bytes", field="Upload-Checksum")
    return {algorithm: digest}


def parse_concat(value: str) -> Partial | Final:
    """Raises Invalid."""
    if value == "partial":
        return Partial()
    kind, found, urls = value.partition(";")
    if kind != "final" or not found:
        raise Invalid("Upload-Concat is `partial` or `final;` and URLs", field="Upload-Concat")
    return Final(tuple(upload_id_in(url) for url in urls.split()))


def upload_path(id: str) -> str:
    return f"{UPLOADS}/{quote(id, safe='')}"


def upload_id_in(url: str) -> UploadId:
    """The upload that an absolute or relative URL names, whatever host or prefix a proxy gave it.

    Raises Invalid.
    """
    before, found, id = url.rpartition(f"{UPLOADS}/")
    if not found or not id or "/" in id or "?" in before:
        raise Invalid("Upload-Concat names something that is no upload", field="Upload-Concat")
    return UploadId(decode_path(id))
