"""The composition root on real servers, started and ended as `serve` does it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from aiohttp import ClientSession

from service.app import build_app, open_runtime
from service.errors import MediagateError
from service.settings import S3, Auth, Settings
from service.web.server import serve


async def test_the_service_starts_serves_and_ends(settings: Settings) -> None:
    settings = settings.model_copy(update={"auth": Auth(root_key="root")})  # type: ignore[arg-type]
    urls: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(
        serve(build_app(settings), settings, ready=urls.put_nowait), name="serving"
    )
    first = asyncio.create_task(urls.get())
    await asyncio.wait({serving, first}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    url = await first
    headers = {"Authorization": "Bearer root"}
    async with ClientSession(url, headers=headers) as session:
        async with session.get("/readyz") as response:
            assert response.status == 200, await response.text()
        async with session.put("/v1/buckets/films") as response:
            assert response.status == 201
        body = {"name": "reader", "scopes": ["list"], "buckets": ["films"]}
        async with session.post("/v1/keys", json=body) as response:
            made = await response.json()
        limited = {"Authorization": f"Bearer {made['token']}"}
        async with session.get("/v1/buckets", headers=limited) as response:
            assert [item["name"] for item in (await response.json())["items"]] == ["films"]
        async with session.delete(f"/v1/keys/{made['id']}") as response:
            assert response.status == 204
        async with session.get("/v1/buckets", headers=limited) as response:
            assert response.status == 401
        async with session.get("/metrics") as response:
            text = await response.text()
        assert 'operation="create",store="metadata.buckets"' in text
        assert 'operation="probe",store="blobs"' in text
        assert 'mediagate_breaker_open{store="blobs"} 0.0' in text
        assert 'mediagate_breaker_open{store="metadata"} 0.0' in text
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 8)


async def test_a_store_that_is_not_there_is_an_error_at_once(settings: Settings) -> None:
    nowhere = S3(endpoint="http://127.0.0.1:9", connect_timeout_s=1, request_timeout_s=2)
    settings = settings.model_copy(update={"s3": nowhere})
    with pytest.raises(MediagateError):
        async with open_runtime(settings):
            pass
