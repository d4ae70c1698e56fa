"""What a store does with a presigned URL: it answers whoever has it, in the words of the link."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from service.protocol.byte_ranges import content_range, parse_range
from tests.fakes.blob_store import FakeBlobStore

Asked = list[CIMultiDictProxy[str]]


@asynccontextmanager
async def link_server(blobs: FakeBlobStore) -> AsyncIterator[Asked]:
    """Serve the links of a fake on another origin; yields the header fields of each request."""
    asked: Asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers)
        link = blobs.links.get(request.match_info["token"])
        if link is None or time.monotonic() > link.until:
            return web.Response(status=403, text="<Code>AccessDenied</Code>")
        if hdrs.AUTHORIZATION in request.headers:
            return web.Response(status=400, text="Only one auth mechanism allowed")
        data = blobs.blobs.get(link.key)
        if data is None:
            return web.Response(status=404, text="<Code>NoSuchKey</Code>")
        headers = {
            hdrs.ETAG: '"the-tag-of-the-store"',
            hdrs.CONTENT_TYPE: link.fields.content_type,
            hdrs.CONTENT_DISPOSITION: link.fields.content_disposition,
            hdrs.CACHE_CONTROL: link.fields.cache_control,
        }
        for name, value in (
            (hdrs.CONTENT_ENCODING, link.fields.content_encoding),
            (hdrs.CONTENT_LANGUAGE, link.fields.content_language),
        ):
            if value:
                headers[name] = value
        spans = parse_range(request.headers.get(hdrs.RANGE, ""), len(data))
        if not spans:
            return web.Response(body=data, headers=headers)
        headers[hdrs.CONTENT_RANGE] = content_range(spans[0], len(data))
        return web.Response(status=206, body=data[spans[0].start : spans[0].end], headers=headers)

    app = web.Application()
    app.router.add_get("/{token}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    blobs.public_endpoint = site.name
    try:
        yield asked
    finally:
        await runner.cleanup()
