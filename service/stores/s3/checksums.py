"""The checksum that travels with each body, in S3's words."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awscrt import checksums

from service.model.blob import PartChecksum
from service.model.upload import Part

MEMBER = {
    PartChecksum.CRC64NVME: "ChecksumCRC64NVME",
    PartChecksum.CRC32C: "ChecksumCRC32C",
    PartChecksum.MD5: "ContentMD5",
}
"""The parameter of PutObject and UploadPart that carries each."""

MULTIPART: Mapping[PartChecksum, Mapping[str, str]] = {
    # FULL_OBJECT: the store combines the parts' CRCs, and checks ours of the whole at the end.
    PartChecksum.CRC64NVME: {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"},
    PartChecksum.CRC32C: {"ChecksumAlgorithm": "CRC32C"},
    PartChecksum.MD5: {},
}
"""What CreateMultipartUpload declares for each."""


@dataclass(frozen=True, slots=True)
class BodyChecksum:
    """algorithm and its raw bytes over one body."""

    algorithm: PartChecksum
    raw: bytes

    @property
    def params(self) -> dict[str, str]:
        return {MEMBER[self.algorithm]: encode(self.raw)}

    @property
    def kept(self) -> bytes | None:
        """What a part remembers of it: Complete wants the CRCs again, MD5 is in the ETag."""
        return None if self.algorithm is PartChecksum.MD5 else self.raw


async def checksum_of(
    algorithm: PartChecksum, chunks: Sequence[bytes], crc64nvme: bytes
) -> BodyChecksum:
    """The checksum of a body in `algorithm`; crc64nvme is its CRC64NVME, known already."""
    if algorithm is PartChecksum.CRC64NVME:
        return BodyChecksum(algorithm, crc64nvme)
    if algorithm is PartChecksum.CRC32C:
        return BodyChecksum(algorithm, _crc32c(chunks))  # 0.08 CPU s/GiB: no thread needed
    return BodyChecksum(algorithm, await asyncio.to_thread(_md5, chunks))


def as_listed(part: Part) -> dict[str, Any]:
    """A part as CompleteMultipartUpload lists it; its checksum's length tells the algorithm."""
    listed: dict[str, Any] = {"PartNumber": part.number, "ETag": part.etag}
    if part.checksum is not None:
        algorithm = PartChecksum.CRC64NVME if len(part.checksum) == 8 else PartChecksum.CRC32C
        listed[MEMBER[algorithm]] = encode(part.checksum)
    return listed


def encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decode_whole(value: str | None) -> bytes | None:
    """A checksum of a whole object; None for none, and for a composite one (`…-3`)."""
    if not value or "-" in value:
        return None
    return base64.b64decode(value)


def _crc32c(chunks: Sequence[bytes]) -> bytes:
    crc = 0
    for chunk in chunks:
        crc = checksums.crc32c(chunk, crc)
    return crc.to_bytes(4, "big")


def _md5(chunks: Sequence[bytes]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()
