"""The port of the store of bytes; `stores/ports.py` names it too, and says what holds for all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True)
class RawBody:
    """The rest of a body outside of this process: `head`, then `size_bytes` > 0 bytes from `fd`.

    head: was read already; whoever sends it takes it out, since the rest may take a slow client
    hours. fd: a duplicate of the socket, non-blocking, to be closed. silence_s: how long the store
    may send nothing.
    """

    head: deque[bytes]
    fd: int
    size_bytes: int
    silence_s: float

    def close(self) -> None:
        os.close(self.fd)


@runtime_checkable
class Detachable(Protocol):
    """What the iterator of `BlobStore.read` may be able to do besides."""

    def detach(self) -> RawBody | None:
        """All that was not iterated yet, of which the iterator has nothing any more; None, and
        nothing is lost, where its bytes cannot be had so. Raises StoreUnavailable.

        The context of `read` stays open until the last byte was taken.
        """


class BlobStore(Protocol):
    """Bytes under keys that are never used twice. Full store: StoreFull."""

    part_checksum: PartChecksum

    async def ensure_bucket(self) -> None:
        """Make the S3 bucket unless it is there."""

    async def probe(self) -> StoreAbilities:
        """Find out what the store can do, and set `part_checksum` to the best of it.

        A bucket with versioning or object lock switched on is a problem: DELETE would free nothing.
        """

    async def ping(self) -> None:
        """Raise unless the bucket answers."""

    async def put(self, key: BlobKey, chunks: Sequence[bytes], crc64nvme: bytes) -> None:
        """Store a whole blob with one PutObject, verified by the store.

        chunks: never joined nor copied. crc64nvme: 8 raw bytes over all chunks.
        Raises OutcomeUnknown where it may have been stored, or may be later.
        """

    async def copy(self, source: BlobKey, key: BlobKey, size_bytes: int) -> None:
        """Make a whole blob of another one with one CopyObject; the store moves the bytes.

        size_bytes: of the source, at most 5 GiB; only tells how long it may take.
        Raises BlobMissing where there is no source, OutcomeUnknown where it may have been made, or
        may be later.
        """

    async def create_multipart(self, key: BlobKey, *, of_copies: bool = False) -> MultipartId:
        """One attempt only. Raises OutcomeUnknown where an id was made and lost.

        of_copies: parts are made by `copy_part`, some of them at least. Such a multipart declares
        no checksum: MinIO refuses copied parts in one that does.
        """

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
        """Store one part, verified by the store; retried by replay where that may help.

        number: 1..10000. crc64nvme: 8 raw bytes over the chunks. of_copies: the multipart was
        created so. Raises MultipartGone where the store knows no such multipart.
        """

    async def copy_part(
        self,
        source: BlobKey,
        start: int,
        end: int,
        key: BlobKey,
        multipart_id: MultipartId,
        number: int,
    ) -> Part:
        """Make one part of the bytes [start, end) of another blob; retried as `upload_part`.

        5 MiB to 5 GiB, the last one may be shorter. Nothing is verified on the way.
        Raises BlobMissing where there is no source, or a shorter one, MultipartGone.
        """

    async def complete(
        self, key: BlobKey, multipart_id: MultipartId, parts: Sequence[Part], crc64nvme: bytes
    ) -> None:
        """One attempt. Raises OutcomeUnknown for a lost answer and for NoSuchUpload alike,
        StoreRefused for parts that make no blob.

        crc64nvme: of the whole blob, verified by the store where it can.
        """

    async def abort(self, key: BlobKey, multipart_id: MultipartId) -> None:
        """End a multipart and repeat until the store says NoSuchUpload."""

    async def list_multiparts(self, key: BlobKey) -> list[MultipartId]:
        """Open multiparts of exactly this key (Prefix = the key: reliable on MinIO too)."""

    async def head(self, key: BlobKey) -> BlobFacts | None:
        """None where there is no such blob."""

    def read(
        self, key: BlobKey, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Bytes [start, end) of a blob, end > start, in chunks of up to 1 MiB; see Detachable.

        Entering raises BlobMissing where there is no such blob, or a shorter one. The iterator
        raises StoreUnavailable when the connection breaks; it never ends early without an error.
        """

    async def link(self, key: BlobKey, fields: LinkFields, ttl_s: int) -> str:
        """A URL by which anybody may GET the blob, whole or by one range, for `ttl_s` seconds.

        Nothing is asked of the store: a blob that is not there is found out by whoever follows.
        The URL is a secret and belongs in no log. fields: printable ASCII.
        """

    async def delete(self, key: BlobKey) -> None:
        """Idempotent."""

    async def scan(self, prefix: str, *, after: str, limit: int) -> list[ListedBlob]:
        """Blobs under a prefix in UTF-8 order of their keys, keys > after.

        Fewer than `limit` only where there are no more.
        """

    def scan_multiparts(self, prefix: str) -> AsyncIterator[ListedMultipart]:
        """Open multiparts under a prefix, as far as the store tells, and perhaps ended ones.

        MinIO's list is a memory of each server: it misses what was opened before that server's
        start. Only `list_multiparts` is proof.
        """

    async def close(self) -> None: ...
