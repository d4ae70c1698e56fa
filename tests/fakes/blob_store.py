"""A BlobStore in memory that behaves like MinIO (Complete once) or SeaweedFS (Complete again)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from awscrt import checksums

from service.errors import (
    BlobMissing,
    MultipartGone,
    OutcomeUnknown,
    StoreRefused,
    StoreUnavailable,
)
from service.model.blob import (
    BlobFacts,
    LinkFields,
    ListedBlob,
    ListedMultipart,
    PartChecksum,
    StoreAbilities,
)
from service.model.ids import BlobKey, MultipartId
from service.model.upload import Part
from service.settings import MIN_PART_BYTES
from tests.fakes.clock import START, Clock


def crc_of(data: bytes) -> bytes:
    return checksums.crc64nvme(data).to_bytes(8, "big")


@dataclass(frozen=True)
class Link:
    """until: of the monotonic clock."""

    key: BlobKey
    fields: LinkFields
    until: float


@dataclass
class Multipart:
    key: BlobKey
    began_at: datetime = START
    parts: dict[int, bytes] = field(default_factory=dict)
    of_copies: bool = False


class FakeBlobStore:
    """complete_again: whether a repeated Complete succeeds, as on SeaweedFS.

    min_part_bytes: smaller ones than S3's make a multipart cheap. modified: when a blob was
    written, START where a test wrote it past the store.
    """

    part_checksum = PartChecksum.CRC64NVME
    public_endpoint = "http://store.invalid"

    def __init__(
        self,
        *,
        complete_again: bool = False,
        chunk_bytes: int = 1 << 20,
        min_part_bytes: int = MIN_PART_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self.blobs: dict[BlobKey, bytes] = {}
        self.modified: dict[BlobKey, datetime] = {}
        self._clock = clock or Clock()
        self.multiparts: dict[MultipartId, Multipart] = {}
        self.links: dict[str, Link] = {}
        self._completed: dict[MultipartId, BlobKey] = {}
        self._complete_again = complete_again
        self._chunk_bytes = chunk_bytes
        self._min_part_bytes = min_part_bytes

    async def ensure_bucket(self) -> None:
        return

    async def probe(self) -> StoreAbilities:
        return StoreAbilities(self.part_checksum)

    async def ping(self) -> None:
        return

    async def put(self, key: BlobKey, chunks: Sequence[bytes], crc64nvme: bytes) -> None:
        self._write(key, self._verified(chunks, crc64nvme))

    async def copy(self, source: BlobKey, key: BlobKey, size_bytes: int) -> None:
        self._write(key, self._source(source, size_bytes))

    async def create_multipart(self, key: BlobKey, *, of_copies: bool = False) -> MultipartId:
        multipart = MultipartId(secrets.token_hex(8))
        self.multiparts[multipart] = Multipart(key, self._clock.now, of_copies=of_copies)
        return multipart

    async def upload_part(
        self,
        key: BlobKey,
        multipart_id: MultipartId,
        number: int,
        chunks: Sequence[bytes],
        crc64nvme: bytes,
        *,
        of_copies: bool = False,
    ) -> Part:
        multipart = self.multiparts.get(multipart_id)
        if multipart is None or multipart.key != key:
            raise MultipartGone
        data = self._verified(chunks, crc64nvme)
        multipart.parts[number] = data
        kept = None if of_copies else crc64nvme
        return Part(number, len(data), hashlib.md5(data).hexdigest(), kept)

    async def copy_part(
        self,
        source: BlobKey,
        start: int,
        end: int,
        key: BlobKey,
        multipart_id: MultipartId,
        number: int,
    ) -> Part:
        multipart = self.multiparts.get(multipart_id)
        if multipart is None or multipart.key != key:
            raise MultipartGone
        if not multipart.of_copies:
            raise StoreRefused("InvalidRequest: the multipart declares a checksum")
        data = self._source(source, end)[start:end]
        multipart.parts[number] = data
        return Part(number, len(data), hashlib.md5(data).hexdigest())

    def _source(self, key: BlobKey, size_bytes: int) -> bytes:
        data = self.blobs.get(key)
        if data is None or len(data) < size_bytes:
            raise BlobMissing
        return data

    async def complete(
        self, key: BlobKey, multipart_id: MultipartId, parts: Sequence[Part], crc64nvme: bytes
    ) -> None:
        multipart = self.multiparts.get(multipart_id)
        if multipart is None:
            if self._complete_again and self._completed.get(multipart_id) == key:
                return
            raise OutcomeUnknown("NoSuchUpload")
        ordered = [multipart.parts[part.number] for part in parts]
        if any(len(data) < self._min_part_bytes for data in ordered[:-1]):
            raise StoreRefused("EntityTooSmall")
        unverified = multipart.of_copies
        self._write(key, b"".join(ordered) if unverified else self._verified(ordered, crc64nvme))
        self._completed[multipart_id] = key
        del self.multiparts[multipart_id]

    async def abort(self, key: BlobKey, multipart_id: MultipartId) -> None:
        self.multiparts.pop(multipart_id, None)

    async def list_multiparts(self, key: BlobKey) -> list[MultipartId]:
        return [name for name, multipart in self.multiparts.items() if multipart.key == key]

    async def head(self, key: BlobKey) -> BlobFacts | None:
        data = self.blobs.get(key)
        return None if data is None else BlobFacts(len(data), crc_of(data))

    @asynccontextmanager
    async def read(self, key: BlobKey, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        data = self.blobs.get(key)
        if data is None or end > len(data):
            raise BlobMissing
        yield self._chunks(data, start, end)

    async def _chunks(self, data: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        for position in range(start, end, self._chunk_bytes):
            yield data[position : min(end, position + self._chunk_bytes)]

    async def link(self, key: BlobKey, fields: LinkFields, ttl_s: int) -> str:
        """Followed where `tests/fakes/link_server.py` serves it."""
        token = secrets.token_hex(16)
        self.links[token] = Link(key, fields, time.monotonic() + ttl_s)
        return f"{self.public_endpoint}/{token}?X-Amz-Signature={secrets.token_hex(8)}"

    async def delete(self, key: BlobKey) -> None:
        self.blobs.pop(key, None)

    async def scan(self, prefix: str, *, after: str, limit: int) -> list[ListedBlob]:
        found = sorted(
            (key for key in self.blobs if key.startswith(prefix) and key.encode() > after.encode()),
            key=str.encode,
        )
        return [
            ListedBlob(key, len(self.blobs[key]), self.modified.get(key, START))
            for key in found[:limit]
        ]

    async def scan_multiparts(self, prefix: str) -> AsyncIterator[ListedMultipart]:
        for name, multipart in list(self.multiparts.items()):
            if multipart.key.startswith(prefix):
                yield ListedMultipart(multipart.key, name, multipart.began_at)

    async def close(self) -> None:
        return

    def _write(self, key: BlobKey, data: bytes) -> None:
        self.blobs[key] = data
        self.modified[key] = self._clock.now

    def _verified(self, chunks: Sequence[bytes], crc64nvme: bytes) -> bytes:
        data = b"".join(chunks)
        if crc_of(data) != crc64nvme:
            raise StoreUnavailable("BadDigest")
        return data
