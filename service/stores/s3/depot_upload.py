"""Chunks of any length as one S3 object: a PutObject where they fit, else a multipart."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from service.settings import MIB
from service.stores.s3.translation import s3_call

_PART_BYTES = 16 * MIB
_PARTS = 10_000
_SLOWEST_BYTES_S = 256 << 10
"""A request gets the time that its body needs at this speed, over its usual time."""


async def upload(
    client: Any,
    where: Mapping[str, str],
    fields: Mapping[str, Any],
    chunks: AsyncIterator[bytes],
    size_bytes: int | None,
    timeout_s: float,
) -> None:
    """where: Bucket and Key. size_bytes: decides the size of the parts; None for small things.

    Errors of the chunks are raised, and the multipart is aborted then. A kill leaves one that is
    open: the store's lifecycle rule for those ends it.
    """
    part_bytes = max(_PART_BYTES, -(-(size_bytes or 0) // (_PARTS - 1)))
    parts = _parts(chunks, part_bytes)
    first = await anext(parts, b"")
    if len(first) < part_bytes:
        async with s3_call(_time_s(first, timeout_s), write=True):
            await client.put_object(**where, **fields, Body=first, ContentMD5=await _md5(first))
        return
    async with s3_call(timeout_s, write=True):
        multipart = (await client.create_multipart_upload(**where, **fields))["UploadId"]
    at = {**where, "UploadId": multipart}
    try:
        done = [await _send(client, at, 1, first, timeout_s)]
        async for part in parts:
            done.append(await _send(client, at, len(done) + 1, part, timeout_s))
        async with s3_call(timeout_s + len(done), write=True):
            await client.complete_multipart_upload(**at, MultipartUpload={"Parts": done})
    except BaseException:
        async with s3_call(timeout_s, write=True):
            await client.abort_multipart_upload(**at)
        raise


async def _send(
    client: Any, at: Mapping[str, str], number: int, part: bytes, timeout_s: float
) -> dict[str, Any]:
    async with s3_call(_time_s(part, timeout_s), write=True):
        answer = await client.upload_part(
            **at, PartNumber=number, Body=part, ContentMD5=await _md5(part)
        )
    return {"PartNumber": number, "ETag": answer["ETag"]}


async def _parts(chunks: AsyncIterator[bytes], part_bytes: int) -> AsyncIterator[bytes]:
    """Each of exactly that size but the last."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        while len(gathered) >= part_bytes:
            part = bytes(gathered[:part_bytes])
            del gathered[:part_bytes]
            yield part
    if gathered:
        yield bytes(gathered)


async def _md5(data: bytes) -> str:
    digest = await asyncio.to_thread(hashlib.md5, data, usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode()


def _time_s(body: bytes, timeout_s: float) -> float:
    return timeout_s + len(body) / _SLOWEST_BYTES_S
