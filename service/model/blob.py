"""What the store of bytes tells of itself and of a blob."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.ids import BlobKey, MultipartId


class PartChecksum(StrEnum):
    """How the store verifies each part; the weakest always works."""

    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    MD5 = "md5"


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """HEAD of a blob. crc64nvme: 8 raw bytes of the whole object where the store keeps it."""

    size_bytes: int
    crc64nvme: bytes | None = None


@dataclass(frozen=True, slots=True)
class LinkFields:
    """What the store is to say of a blob by a link, in place of what it keeps itself."""

    content_type: str
    content_disposition: str
    cache_control: str
    content_encoding: str | None = None
    content_language: str | None = None


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """modified_at: when the store last wrote it, by the store's clock, never rounded up."""

    key: BlobKey
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ListedMultipart:
    """began_at: by the store's clock."""

    key: BlobKey
    id: MultipartId
    began_at: datetime


@dataclass(frozen=True, slots=True)
class StoreAbilities:
    """What a probe of the store found. problems: reasons why the service must not use it.

    copies_parts: whether parts can be made of other blobs, so that uploads can be joined.
    """

    part_checksum: PartChecksum
    problems: tuple[str, ...] = ()
    copies_parts: bool = True
