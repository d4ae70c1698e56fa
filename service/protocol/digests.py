"""Digests in header fields: Content-Digest, Repr-Digest, Want-Repr-Digest, Content-MD5.

Inside, a digest is raw bytes under the name that the registry of RFC 9530 gives its algorithm
(`crc64nvme` is S3's, big-endian). The content of a PUT is the whole representation here, since no
content coding is ever undone, so Content-Digest and Repr-Digest say the same of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from multidict import MultiMapping

from service.errors import DigestMismatch, Invalid
from service.protocol.headers import combined
from service.protocol.structured import format_bytes, parse_dictionary

SIZES_BYTES: Mapping[str, int] = {
    "sha-256": 32,
    "sha-512": 64,
    "md5": 16,
    "crc64nvme": 8,
    "crc32c": 4,
}
"""The algorithms that are verified and computed; every other one is ignored."""


def parse_digests(field: str) -> dict[str, bytes]:
    """The known algorithms of a Content-Digest or Repr-Digest.

    Raises Invalid where it is malformed: whoever sends a digest wants it looked at.
    """
    try:
        members = parse_dictionary(field)
    except ValueError as error:
        raise Invalid(f"malformed digest field: {error}") from error
    digests: dict[str, bytes] = {}
    for algorithm, size_bytes in SIZES_BYTES.items():
        value = members.get(algorithm)
        if value is None:
            continue
        if not isinstance(value, bytes) or len(value) != size_bytes:
            raise Invalid(f"{algorithm} takes {size_bytes} bytes in base64 between colons")
        digests[algorithm] = value
    return digests


def parse_content_md5(field: str) -> bytes:
    """16 bytes. Raises Invalid. Source: RFC 1864."""
    try:
        digest = base64.b64decode(field.strip(" \t").encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Invalid("Content-MD5 takes 16 bytes in base64") from error
    if len(digest) != SIZES_BYTES["md5"]:
        raise Invalid("Content-MD5 takes 16 bytes in base64")
    return digest


def expected_digests(headers: MultiMapping[str]) -> dict[str, bytes]:
    """What the client says of the body of a PUT, by algorithm. Raises Invalid, and DigestMismatch
    at once where two fields contradict each other, for then no body can match."""
    expected = content_digests(headers)
    _merge(expected, repr_digests(headers))
    return expected


def content_digests(headers: MultiMapping[str]) -> dict[str, bytes]:
    """What the client says of the content of this very request. Raises as `expected_digests`."""
    expected = _digests_in(headers, "Content-Digest")
    md5 = combined(headers, "Content-MD5")
    if md5 is not None:
        _merge(expected, {"md5": parse_content_md5(md5)})
    return expected


def repr_digests(headers: MultiMapping[str]) -> dict[str, bytes]:
    """What the client says of the whole representation. Raises Invalid."""
    return _digests_in(headers, "Repr-Digest")


def _digests_in(headers: MultiMapping[str], name: str) -> dict[str, bytes]:
    field = combined(headers, name)
    return {} if field is None else parse_digests(field)


def _merge(expected: dict[str, bytes], more: Mapping[str, bytes]) -> None:
    for algorithm, digest in more.items():
        if expected.setdefault(algorithm, digest) != digest:
            raise DigestMismatch(f"the request has two different {algorithm} digests")


def wanted_digests(headers: MultiMapping[str]) -> frozenset[str]:
    """The known algorithms of Want-Repr-Digest with a weight above 0; a bare name counts too.

    It is a wish, so a malformed field is ignored.
    """
    field = combined(headers, "Want-Repr-Digest")
    try:
        members = parse_dictionary(field or "")
    except ValueError:
        return frozenset()
    return frozenset(
        algorithm
        for algorithm in SIZES_BYTES
        if isinstance(weight := members.get(algorithm), int) and weight > 0
    )


def format_digests(digests: Mapping[str, bytes]) -> str | None:
    """The value of Repr-Digest, None where nothing is known."""
    return (
        ", ".join(f"{name}={format_bytes(value)}" for name, value in sorted(digests.items()))
        or None
    )
