"""The baseline: what one writes in an afternoon with the same libraries.

aiobotocore `get_object` and `put_object` in an aiohttp handler, one motor call each, 8 MiB parts
that are joined. No ledger, no checksums, no transaction: not a thing to trust with a file.
`python -m tests.load.bench.plain PORT`, told of its stores by MEDIAGATE_* like the service.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient

from service.settings import Settings

PART_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20
S3 = web.AppKey("s3", object)
FILES = web.AppKey("files", object)
BUCKET = web.AppKey("bucket", str)


async def get(request: web.Request) -> web.StreamResponse:
    found = await request.app[FILES].find_one({"_id": request.match_info["key"]})
    if found is None:
        raise web.HTTPNotFound
    wanted = {"Range": request.headers["Range"]} if "Range" in request.headers else {}
    answer = await request.app[S3].get_object(
        Bucket=request.app[BUCKET], Key=found["blob"], **wanted
    )
    async with answer["Body"]:
        response = web.StreamResponse(status=206 if wanted else 200)
        response.content_length = answer["ContentLength"]
        await response.prepare(request)
        async for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
    return response


async def put(request: web.Request) -> web.Response:
    key, bucket, s3 = request.match_info["key"], request.app[BUCKET], request.app[S3]
    where, size = {"Bucket": bucket, "Key": key}, 0
    first = await _part(request)
    if len(first) < PART_BYTES:
        await s3.put_object(**where, Body=first)
        size = len(first)
    else:
        upload = (await s3.create_multipart_upload(**where))["UploadId"]
        parts, part = [], first
        while part:
            number = len(parts) + 1
            sent = await s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            size += len(part)
            part = await _part(request)
        await s3.complete_multipart_upload(
            **where, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    await request.app[FILES].replace_one({"_id": key}, {"blob": key, "size": size}, upsert=True)
    return web.json_response({"key": key, "size": size}, status=201)


async def _part(request: web.Request) -> bytes:
    """The next 8 MiB, joined; less at the end."""
    part = bytearray()
    while len(part) < PART_BYTES:
        chunk = await request.content.read(min(CHUNK_BYTES, PART_BYTES - len(part)))
        if not chunk:
            break
        part += chunk
    return bytes(part)


async def stores(app: web.Application) -> AsyncIterator[None]:
    settings = Settings()
    config = AioConfig(
        signature_version="s3v4",
        max_pool_connections=128,
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    motor = AsyncIOMotorClient(settings.metadata.url.get_secret_value())
    async with get_session().create_client(
        "s3",
        endpoint_url=settings.s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id=settings.s3.access_key,
        aws_secret_access_key=settings.s3.secret_key.get_secret_value(),
        config=config,
    ) as s3:
        app[S3], app[FILES], app[BUCKET] = s3, motor["plain"]["files"], settings.s3.bucket
        yield
    motor.close()


def main() -> None:
    app = web.Application()
    app.cleanup_ctx.append(stores)
    app.router.add_get("/{key:.+}", get)
    app.router.add_put("/{key:.+}", put)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
