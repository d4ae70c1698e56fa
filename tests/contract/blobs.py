"""Blobs to store, and how the contract tests store and read them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from awscrt import checksums

from service.model.ids import DEFAULT_TENANT, BlobKey
from service.settings import MIB
from service.stores.blob_layout import new_blob_key
from service.stores.ports import BlobStore


def crc_of(chunks: Sequence[bytes]) -> bytes:
    crc = 0
    for chunk in chunks:
        crc = checksums.crc64nvme(chunk, crc)
    return crc.to_bytes(8, "big")


def some_chunks(size_bytes: int) -> list[bytes]:
    """Random bytes in uneven chunks, as a socket would give them."""
    data, step = os.urandom(size_bytes), 65_521
    return [data[at : at + step] for at in range(0, size_bytes, step)]


async def put(store: BlobStore, chunks: Sequence[bytes]) -> BlobKey:
    key = new_blob_key(DEFAULT_TENANT)
    await store.put(key, chunks, crc_of(chunks))
    return key


async def read(store: BlobStore, key: BlobKey, start: int, end: int) -> bytes:
    async with store.read(key, start, end) as chunks:
        return b"".join([chunk async for chunk in chunks])


class Multipart:
    """A multipart under way: two parts, the first as small as S3 allows unless told otherwise."""

    def __init__(self, store: BlobStore, first_bytes: int = 5 * MIB) -> None:
        self.store, self.key = store, new_blob_key(DEFAULT_TENANT)
        self.chunks = [some_chunks(first_bytes), some_chunks(100_000)]

    async def upload(self) -> None:
        self.id = await self.store.create_multipart(self.key)
        self.parts = [
            await self.store.upload_part(self.key, self.id, number, chunks, crc_of(chunks))
            for number, chunks in enumerate(self.chunks, start=1)
        ]

    @property
    def crc64nvme(self) -> bytes:
        return crc_of([*self.chunks[0], *self.chunks[1]])

    @property
    def data(self) -> bytes:
        return b"".join([*self.chunks[0], *self.chunks[1]])

    async def complete(self) -> None:
        await self.store.complete(self.key, self.id, self.parts, self.crc64nvme)

    async def read_back(self) -> bytes:
        return await read(self.store, self.key, 0, len(self.data))
