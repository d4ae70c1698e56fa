"""A prefix of any S3 bucket as a depot: an item is an object.

What is written carries the CRC64NVME of its bytes as user metadata, since not every store keeps
one; each request carries an MD5, which every store verifies.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from service.errors import BlobMissing, Conflict, NotFound, StoreUnavailable
from service.model.depot import MANIFEST, DepotContent, DepotItem, Exported
from service.model.version import ObjectFacts
from service.protocol.content_disposition import format_disposition, parse_filename
from service.settings import MIB, S3
from service.stores.s3.checksums import decode_whole
from service.stores.s3.clients import ATTEMPTS, client_config
from service.stores.s3.depot_upload import upload
from service.stores.s3.translation import DRIVER_ERRORS, error_code, s3_call, translate

CRC_MARK = "mediagate-crc64nvme"
_CHUNK_BYTES = 1 * MIB
_RESUMES = 5


@asynccontextmanager
async def open_s3_depot(
    settings: S3, bucket: str, prefix: str, *, endpoint: str | None = None
) -> AsyncIterator[S3Depot]:
    """endpoint: of another store, whose credentials the environment has (AWS_ACCESS_KEY_ID, …);
    None for our own, with the service's."""
    ours: dict[str, Any] = {}
    if endpoint is None:
        ours["aws_access_key_id"] = settings.access_key
        ours["aws_secret_access_key"] = settings.secret_key.get_secret_value()
    region = settings.region if endpoint is None else os.environ.get("AWS_REGION")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            get_session().create_client(
                "s3",
                endpoint_url=endpoint or settings.endpoint,
                region_name=region or settings.region,
                config=client_config(settings, ATTEMPTS),
                **ours,
            )
        )
        yield S3Depot(client, bucket, prefix, settings.request_timeout_s)


class S3Depot:
    def __init__(self, client: Any, bucket: str, prefix: str, timeout_s: float) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix
        self._timeout_s = timeout_s

    async def items(self) -> AsyncIterator[DepotItem]:
        """What ends in `/` is a folder's mark that some tools make, and no item."""
        more: dict[str, str] = {}
        while True:
            async with s3_call(self._timeout_s):
                page = await self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix, **more
                )
            for found in page.get("Contents", ()):
                name = found["Key"][len(self._prefix) :]
                if name and not name.endswith("/") and name != MANIFEST:
                    yield DepotItem(name, found["Size"], found["ETag"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    @asynccontextmanager
    async def open(self, item: DepotItem) -> AsyncIterator[DepotContent]:
        answer = await self._get(item, 0)
        tags = await self._tags(item.name) if answer.get("TagCount") else {}
        yield DepotContent(_facts(answer, tags), self._chunks(item, answer))

    async def _get(self, item: DepotItem, start: int) -> Any:
        rest = {"Range": f"bytes={start}-"} if start else {}
        try:
            async with s3_call(self._timeout_s):
                try:
                    return await self._client.get_object(
                        **self._at(item.name), IfMatch=item.mark, **rest
                    )
                except ClientError as error:
                    if error_code(error) in ("PreconditionFailed", "412"):
                        raise Conflict(f"{item.name!r} was changed") from error
                    raise
        except BlobMissing as error:
            raise NotFound(f"{item.name!r} is gone") from error

    async def _chunks(self, item: DepotItem, answer: Any) -> AsyncIterator[bytes]:
        """To the end, by range on the same entity tag where the connection breaks."""
        done_bytes, resumes = 0, 0
        while True:
            try:
                async with answer["Body"] as body:
                    async for chunk in body.iter_chunks(_CHUNK_BYTES):
                        done_bytes, resumes = done_bytes + len(chunk), 0
                        yield chunk
            except DRIVER_ERRORS as error:
                resumes += 1
                if resumes > _RESUMES:
                    raise translate(error, write=False) from error
            if done_bytes >= item.size_bytes:
                return
            if not resumes:
                raise StoreUnavailable(f"{item.name!r} ended too early")
            answer = await self._get(item, done_bytes)

    async def _tags(self, name: str) -> dict[str, str]:
        async with s3_call(self._timeout_s):
            answer = await self._client.get_object_tagging(**self._at(name))
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}

    async def remove(self, item: DepotItem) -> None:
        head = await self._head(item.name)
        if head is None:
            return
        if head["ETag"] != item.mark:
            raise Conflict(f"{item.name!r} was changed")
        async with s3_call(self._timeout_s, write=True):
            await self._client.delete_object(**self._at(item.name))

    async def digest(self, name: str, size_bytes: int) -> bytes | None:
        head = await self._head(name)
        if head is None or head["ContentLength"] != size_bytes:
            return None
        mark = head.get("Metadata", {}).get(CRC_MARK)
        return base64.b64decode(mark) if mark else decode_whole(head.get("ChecksumCRC64NVME"))

    async def _head(self, name: str) -> Any:
        try:
            async with s3_call(self._timeout_s):
                return await self._client.head_object(**self._at(name), ChecksumMode="ENABLED")
        except BlobMissing:
            return None

    async def write(self, exported: Exported, chunks: AsyncIterator[bytes]) -> None:
        fields = _fields(exported)
        where = self._at(exported.name)
        await upload(self._client, where, fields, chunks, exported.size_bytes, self._timeout_s)

    async def manifest(self) -> AsyncIterator[bytes]:
        head = await self._head(MANIFEST)
        if head is None:
            return
        item = DepotItem(MANIFEST, head["ContentLength"], head["ETag"], head["LastModified"])
        left = b""
        async with self.open(item) as content:
            async for chunk in content.chunks:
                *lines, left = (left + chunk).split(b"\n")
                for line in lines:
                    yield line
        if left:
            yield left

    async def write_manifest(self, lines: AsyncIterator[bytes]) -> None:
        fields = {"ContentType": "application/jsonl"}
        await upload(self._client, self._at(MANIFEST), fields, lines, None, self._timeout_s)

    async def close(self) -> None:
        """The client belongs to whoever opened it."""

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}


def _facts(answer: Any, tags: dict[str, str]) -> ObjectFacts:
    metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
    metadata.pop(CRC_MARK, None)
    return ObjectFacts(
        content_type=answer.get("ContentType") or "application/octet-stream",
        content_encoding=answer.get("ContentEncoding") or None,
        content_language=answer.get("ContentLanguage") or None,
        cache_control=answer.get("CacheControl") or None,
        filename=parse_filename(answer.get("ContentDisposition") or ""),
        user_metadata=metadata,
        tags=tags,
    )


def _fields(exported: Exported) -> dict[str, Any]:
    """What S3 can keep of the facts; the manifest has all of them."""
    facts = exported.facts
    fields = {
        "ContentType": facts.content_type,
        "ContentEncoding": facts.content_encoding,
        "ContentLanguage": facts.content_language,
        "CacheControl": facts.cache_control,
        "ContentDisposition": format_disposition("attachment", facts.filename),
    }
    told: dict[str, Any] = {name: value for name, value in fields.items() if value}
    crc = exported.digests.get("crc64nvme")
    return told | ({"Metadata": {CRC_MARK: base64.b64encode(crc).decode()}} if crc else {})
