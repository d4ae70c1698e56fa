"""A bucket with `delivery: redirect`, on real stores: clients follow, and the store serves them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, ROOT_KEY, Installation, Process

SIZE = 9_000_001
DATA = hashlib.shake_256(b"redirects").digest(SIZE)
HTML = b"<html><script>document.title='ran'</script></html>"


@pytest.fixture(scope="module")
def installation(make_installation: Callable[[], Installation]) -> Installation:
    """Clients reach its store by another name than the service does."""
    made = make_installation()
    public = made.stack.s3_endpoint.replace("127.0.0.1", "localhost")
    assert public != made.stack.s3_endpoint
    made.settings["MEDIAGATE_S3__PUBLIC_ENDPOINT"] = public
    made.settings["MEDIAGATE_S3__PRESIGN_TTL_S"] = "50"
    return made


@pytest.fixture(scope="module")
def service(installation: Installation) -> Iterator[Process]:
    with installation.serving(TELEMETRY__LOG_LEVEL="debug") as process:
        yield process
    logged = process.log.read_text()
    assert "307" in logged
    assert "X-Amz" not in logged
    assert "Traceback" not in logged


@pytest.fixture
async def bucket(http: ClientSession) -> str:
    path = f"/v1/buckets/r-{secrets.token_hex(4)}"
    async with http.put(path, json={"delivery": "redirect"}) as response:
        assert response.status == 201
    return path


async def test_a_client_that_follows_gets_the_bytes_from_the_store(
    http: ClientSession, bucket: str, installation: Installation
) -> None:
    async with http.put(f"{bucket}/objects/a.bin", data=BytesIO(DATA)) as response:
        etag = response.headers["ETag"]
    async with http.get(f"{bucket}/objects/a.bin") as response:
        assert response.status == 200
        assert response.url.host == "localhost"
        assert response.history[0].status == 307
        assert response.history[0].headers["ETag"] == etag
        assert await response.read() == DATA
    for asked, piece in (
        ("bytes=5-14", DATA[5:15]),
        ("bytes=-7", DATA[-7:]),
        (f"bytes={SIZE - 3}-{SIZE + 9}", DATA[-3:]),
    ):
        async with http.get(f"{bucket}/objects/a.bin", headers={"Range": asked}) as response:
            assert (response.status, response.url.host) == (206, "localhost")
            assert await response.read() == piece
    resumed = {"Range": "bytes=1000-", "If-Range": etag}
    async with http.get(f"{bucket}/objects/a.bin", headers=resumed) as response:
        assert (response.status, response.url.host) == (206, "127.0.0.1")
        assert await response.read() == DATA[1000:]


async def test_html_is_an_attachment_on_the_stores_own_domain(
    http: ClientSession, bucket: str
) -> None:
    for declared in ("text/html", "image/png"):
        headers = {"Content-Type": declared}
        async with http.put(f"{bucket}/objects/x", data=HTML, headers=headers) as response:
            assert response.status in (200, 201)
        async with http.get(f"{bucket}/objects/x") as response:
            assert response.url.host == "localhost"
            assert response.headers["Content-Disposition"].startswith("attachment;")
            assert response.content_type == declared
            assert await response.read() == HTML


async def test_a_url_ends_with_its_time(
    bucket: str, http: ClientSession, installation: Installation
) -> None:
    async with http.put(f"{bucket}/objects/a", data=b"soon over") as response:
        assert response.status == 201
    with installation.serving(S3__PRESIGN_TTL_S=1) as hasty:
        async with ClientSession() as session:
            url = f"{hasty.url}{bucket}/objects/a"
            async with session.get(url, headers=AUTHORIZED, allow_redirects=False) as response:
                location = response.headers["Location"]
            async with session.get(location) as response:
                assert (response.status, await response.read()) == (200, b"soon over")
            await asyncio.sleep(2.1)
            async with session.get(location) as response:
                assert response.status == 403


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl_and_the_command_follow(
    http: ClientSession,
    bucket: str,
    service: Process,
    installation: Installation,
    tmp_path: Path,
) -> None:
    async with http.put(f"{bucket}/objects/a.bin", data=BytesIO(DATA)) as response:
        assert response.status == 201
    process = await asyncio.create_subprocess_exec(
        "curl", "-fsSL", "-o", str(tmp_path / "curl"), "-H", f"Authorization: Bearer {ROOT_KEY}",
        f"{service.url}{bucket}/objects/a.bin",
    )  # fmt: skip
    assert await process.wait() == 0
    assert (tmp_path / "curl").read_bytes() == DATA
    source = f"mg://{bucket.rpartition('/')[2]}/a.bin"
    given = {"URL": service.url, "KEY": ROOT_KEY}
    await asyncio.to_thread(installation.run, "get", source, str(tmp_path / "get"), **given)
    assert (tmp_path / "get").read_bytes() == DATA
