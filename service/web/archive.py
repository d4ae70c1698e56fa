"""`GET /v1/buckets/{bucket}/archive?prefix=&format=`: objects as one zip or tar, streamed.

Its length is not known before its end and nothing of it is kept, so there are no ranges of it and
no entity tag. A `Range` is refused with 400: of a 416 without a length some clients believe that
what they have of the file is all of it. Once the first byte is out, whatever fails cuts the
connection.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Literal

from aiohttp import hdrs, web
from pydantic import Field

from service.errors import BucketNotFound, Invalid, InvalidKey, SlowClient
from service.model.api_key import Scope
from service.protocol.archives import Packer, TarPacker, ZipPacker
from service.protocol.content_disposition import format_disposition
from service.protocol.names import validate_prefix
from service.usecases.archive_objects import archive_objects
from service.usecases.authorize import authorize
from service.usecases.runtime import Runtime
from service.web.client_pace import ClientPace
from service.web.describe import Reply, describe
from service.web.fields import CACHE_CONTROL, HeaderField
from service.web.query import Query, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of

_WRITE_BYTES = 256 << 10
_FORMATS: dict[str, tuple[str, type[ZipPacker] | type[TarPacker]]] = {
    "zip": ("application/zip", ZipPacker),
    "tar": ("application/x-tar", TarPacker),
}


class ArchiveQuery(Query):
    prefix: str = Field("", description="Only keys that start with it.")
    format: Literal["zip", "tar"] = Field("zip", description="Of the archive.")


@describe(
    "Objects as one archive.",
    query=ArchiveQuery,
    headers=(HeaderField("Range", "Refused: an archive is made anew each time."),),
    answers={
        200: Reply(
            tuple(kind for kind, _ in _FORMATS.values()),
            CACHE_CONTROL,
            HeaderField("Accept-Ranges", "`none`.", always=True),
            HeaderField("Content-Disposition", "A file, and its name.", always=True),
            says="Entries in the order of their keys.",
        )
    },
    problems=(BucketNotFound,),
)
async def get_archive(request: web.Request) -> web.StreamResponse:
    """Of an object that is lost or a store that fails before the first byte a problem tells."""
    runtime, bucket = runtime_of(request), request[TARGET].bucket
    query, prefix = query_of(request, ArchiveQuery), _prefix_of(request)
    principal = request[PRINCIPAL]
    authorize(principal, Scope.READ, bucket=bucket, prefix=prefix)
    if hdrs.RANGE in request.headers and hdrs.IF_RANGE not in request.headers:
        raise Invalid("an archive has no ranges: ask for all of it", field=hdrs.RANGE)
    media_type, packer = _FORMATS[query.format]
    response = web.StreamResponse(headers=_headers(bucket, prefix, query.format, media_type))
    if request.method == hdrs.METH_HEAD:
        found = await runtime.metadata.buckets.get(principal.tenant, bucket)
        if found is None:
            raise BucketNotFound(f"there is no bucket {bucket!r}")
        await response.prepare(request)
        await response.write_eof()
        return response
    limit_s = runtime.settings.http.max_download_s
    try:
        async with asyncio.timeout(limit_s):
            await _send(request, response, runtime, prefix, packer())
    except TimeoutError as error:
        raise SlowClient(f"the download took longer than {limit_s} s") from error
    return response


def _prefix_of(request: web.Request) -> str:
    try:
        return validate_prefix(query_of(request, ArchiveQuery).prefix)
    except InvalidKey as error:
        raise Invalid(error.detail, parameter="prefix") from error


def _headers(bucket: str, prefix: str, format: str, media_type: str) -> dict[str, str]:
    name = prefix.strip("/").rpartition("/")[2] or bucket
    return {
        hdrs.CONTENT_TYPE: media_type,
        hdrs.CONTENT_DISPOSITION: format_disposition("attachment", f"{name}.{format}"),
        hdrs.ACCEPT_RANGES: "none",
        hdrs.CACHE_CONTROL: "no-store",
    }


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    runtime: Runtime,
    prefix: str,
    packer: Packer,
) -> None:
    pace = ClientPace(request, runtime.settings.http.idle_timeout_s)
    tenant, bucket = request[PRINCIPAL].tenant, request[TARGET].bucket
    async with aclosing(archive_objects(runtime, tenant, bucket, prefix, packer)) as chunks:
        async for chunk in chunks:
            if not response.prepared:
                await response.prepare(request)
            view = memoryview(chunk)
            for start in range(0, len(chunk), _WRITE_BYTES):
                await pace.write(response, view[start : start + _WRITE_BYTES])
    await response.write_eof()
