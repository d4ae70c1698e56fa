"""The BlobStore port over aiobotocore. What each call promises stands in `stores/ports.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from botocore.exceptions import ClientError

from service.errors import BlobMissing, OutcomeUnknown, StoreUnavailable
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
from service.settings import MIB, S3
from service.stores.s3.blob_body import BlobBody
from service.stores.s3.blob_reader import BlobReader
from service.stores.s3.checksums import (
    MEMBER,
    MULTIPART,
    as_listed,
    checksum_of,
    decode_whole,
    encode,
)
from service.stores.s3.clients import Clients, open_clients
from service.stores.s3.links import presigned
from service.stores.s3.part_body import PartBody
from service.stores.s3.probe import probe_store
from service.stores.s3.signed_urls import SignedUrls
from service.stores.s3.translation import error_code, s3_call

FLOOR_BYTES_S = MIB
"""A body has `request_timeout_s` plus the time that it takes at this rate."""
_ABORT_PAUSE_S = 0.1
_JOIN_PART_S = 0.05
_PAGE_KEYS = 1000
_BLOB_TYPE = "application/octet-stream"


async def open_blob_store(settings: S3) -> S3BlobStore:
    """A store that is to be closed; nothing is sent before its first call."""
    return S3BlobStore(await open_clients(settings), settings)


class S3BlobStore:
    def __init__(self, clients: Clients, settings: S3) -> None:
        self._clients = clients
        self._settings = settings
        self._bucket = settings.bucket
        self._urls = SignedUrls(clients.writes, settings.bucket)
        self._reader = BlobReader(clients.downloads, self._urls)
        self._downloads = asyncio.Semaphore(settings.max_downloads)
        self._timeout_s = settings.request_timeout_s
        wanted = settings.part_checksum
        # Until the probe: MD5, which every store knows.
        self.part_checksum = PartChecksum.MD5 if wanted == "auto" else PartChecksum(wanted)

    async def close(self) -> None:
        await self._clients.close()

    async def ensure_bucket(self) -> None:
        where: dict[str, Any] = {"Bucket": self._bucket}
        async with s3_call(self._timeout_s):
            try:
                await self._clients.writes.head_bucket(**where)
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchBucket"):
                    raise
            else:
                return
        if self._settings.region != "us-east-1":
            where["CreateBucketConfiguration"] = {"LocationConstraint": self._settings.region}
        async with s3_call(self._timeout_s, write=True):
            try:
                await self._clients.writes.create_bucket(**where)
            except ClientError as error:
                if error_code(error) != "BucketAlreadyOwnedByYou":
                    raise

    async def probe(self) -> StoreAbilities:
        abilities = await probe_store(self._clients, self._settings)
        self.part_checksum = abilities.part_checksum
        return abilities

    async def ping(self) -> None:
        async with s3_call(self._timeout_s):
            await self._clients.writes.head_bucket(Bucket=self._bucket)

    async def put(self, key: BlobKey, chunks: Sequence[bytes], crc64nvme: bytes) -> None:
        checksum = await checksum_of(self.part_checksum, chunks, crc64nvme)
        body = PartBody(chunks)
        del chunks  # so that no traceback keeps them
        async with s3_call(self._time_for(body), write=True, body=body):
            await self._clients.writes.put_object(
                **self._at(key), Body=body or b"", ContentType=_BLOB_TYPE, **checksum.params
            )

    async def copy(self, source: BlobKey, key: BlobKey, size_bytes: int) -> None:
        async with s3_call(self._time_for_bytes(size_bytes), write=True):
            await self._clients.writes.copy_object(**self._at(key), CopySource=self._at(source))

    async def create_multipart(self, key: BlobKey, *, of_copies: bool = False) -> MultipartId:
        declared = {} if of_copies else MULTIPART[self.part_checksum]
        async with s3_call(self._timeout_s, write=True):
            answer = await self._clients.once.create_multipart_upload(
                **self._at(key), ContentType=_BLOB_TYPE, **declared
            )
        return MultipartId(answer["UploadId"])

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
        algorithm = PartChecksum.MD5 if of_copies else self.part_checksum
        checksum = await checksum_of(algorithm, chunks, crc64nvme)
        body = PartBody(chunks)
        del chunks
        async with s3_call(self._time_for(body), write=True, body=body):
            answer = await self._clients.writes.upload_part(
                **self._at(key),
                UploadId=multipart_id,
                PartNumber=number,
                Body=body,
                **checksum.params,
            )
        return Part(number, len(body), answer["ETag"], checksum.kept)

    async def copy_part(
        self,
        source: BlobKey,
        start: int,
        end: int,
        key: BlobKey,
        multipart_id: MultipartId,
        number: int,
    ) -> Part:
        async with s3_call(self._time_for_bytes(end - start), write=True):
            answer = await self._clients.writes.upload_part_copy(
                **self._at(key),
                UploadId=multipart_id,
                PartNumber=number,
                CopySource=self._at(source),
                CopySourceRange=f"bytes={start}-{end - 1}",
            )
        return Part(number, end - start, answer["CopyPartResult"]["ETag"])

    async def complete(
        self, key: BlobKey, multipart_id: MultipartId, parts: Sequence[Part], crc64nvme: bytes
    ) -> None:
        # The parts tell what the multipart declared; this process may have been set otherwise.
        listed = [as_listed(part) for part in parts]
        whole = {}
        if listed and MEMBER[PartChecksum.CRC64NVME] in listed[0]:
            whole = {"ChecksumCRC64NVME": encode(crc64nvme), "ChecksumType": "FULL_OBJECT"}
        # Stores join the parts before they answer, and keep the connection alive meanwhile.
        async with s3_call(self._timeout_s + len(parts) * _JOIN_PART_S, write=True):
            try:
                await self._clients.once.complete_multipart_upload(
                    **self._at(key),
                    UploadId=multipart_id,
                    MultipartUpload={"Parts": listed},
                    **whole,
                )
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise
                # Completed before, or aborted: only a HEAD of the blob can tell.
                raise OutcomeUnknown("the S3 store knows no such multipart") from error

    async def abort(self, key: BlobKey, multipart_id: MultipartId) -> None:
        """MinIO answers 204 to any Abort, so what proves the end is ListParts."""
        multipart = {**self._at(key), "UploadId": multipart_id}
        async with s3_call(self._timeout_s, write=True):
            try:
                while True:
                    await self._clients.writes.abort_multipart_upload(**multipart)
                    await self._clients.writes.list_parts(**multipart, MaxParts=1)
                    # A part in flight can outlive an Abort: once more.
                    await asyncio.sleep(_ABORT_PAUSE_S)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise

    async def list_multiparts(self, key: BlobKey) -> list[MultipartId]:
        return [
            MultipartId(upload["UploadId"])
            async for upload in self._multiparts(Prefix=key)
            if upload["Key"] == key
        ]

    async def head(self, key: BlobKey) -> BlobFacts | None:
        try:
            async with s3_call(self._timeout_s):
                answer = await self._clients.writes.head_object(
                    **self._at(key), ChecksumMode="ENABLED"
                )
        except BlobMissing:
            return None
        return BlobFacts(answer["ContentLength"], decode_whole(answer.get("ChecksumCRC64NVME")))

    @asynccontextmanager
    async def read(self, key: BlobKey, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._turn():
            async with s3_call(self._timeout_s):
                response = await self._reader.open(key, start, end)
            try:
                yield BlobBody(response, end - start, self._timeout_s)
            finally:
                # Gives the connection back where the body was read to its end, else closes it.
                response.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the connections for downloads. To wait for it in aiohttp's pool would look like a
        store that does not answer, and the breaker would refuse uploads for slow readers."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._downloads.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("s3.max_downloads are under way already") from error
        try:
            yield
        finally:
            self._downloads.release()

    async def link(self, key: BlobKey, fields: LinkFields, ttl_s: int) -> str:
        return await presigned(self._clients.links, self._at(key), fields, ttl_s)

    async def delete(self, key: BlobKey) -> None:
        async with s3_call(self._timeout_s, write=True):
            await self._clients.writes.delete_object(**self._at(key))
        self._urls.forget(key)

    async def scan(self, prefix: str, *, after: str, limit: int) -> list[ListedBlob]:
        found: list[ListedBlob] = []
        place = {"StartAfter": after} if after else {}
        while len(found) < limit:
            async with s3_call(self._timeout_s):
                page = await self._clients.writes.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=prefix,
                    MaxKeys=min(limit - len(found), _PAGE_KEYS),
                    **place,
                )
            found += [
                ListedBlob(BlobKey(entry["Key"]), entry["Size"], entry["LastModified"])
                for entry in page.get("Contents", ())
            ]
            if not page.get("IsTruncated"):
                break
            place = {"ContinuationToken": page["NextContinuationToken"]}
        return found

    async def scan_multiparts(self, prefix: str) -> AsyncIterator[ListedMultipart]:
        # Without a Prefix, since MinIO takes one for a whole key.
        async for upload in self._multiparts():
            if upload["Key"].startswith(prefix):
                yield ListedMultipart(
                    BlobKey(upload["Key"]), MultipartId(upload["UploadId"]), upload["Initiated"]
                )

    async def _multiparts(self, **place: str) -> AsyncIterator[dict[str, Any]]:
        while True:
            async with s3_call(self._timeout_s):
                page = await self._clients.writes.list_multipart_uploads(
                    Bucket=self._bucket, **place
                )
            for upload in page.get("Uploads", ()):
                yield upload
            if not page.get("IsTruncated"):
                return
            place |= {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _at(self, key: BlobKey) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key}

    def _time_for(self, body: PartBody) -> float:
        return self._time_for_bytes(len(body))

    def _time_for_bytes(self, size_bytes: int) -> float:
        return self._timeout_s + size_bytes / FLOOR_BYTES_S
