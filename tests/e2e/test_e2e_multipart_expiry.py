"""Resumable uploads outlive the multiparts of the store: a real MinIO that drops them early."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from botocore.exceptions import ClientError

from service.devstack import Stack, running_stack
from tests.conftest import require_minio
from tests.e2e.installation import Installation, install
from tests.e2e.tus_http import TUS, create, make_bucket, offset_of, patch

MIB = 1 << 20
EXPIRY_S = 3


@pytest.fixture
def impatient_minio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    require_minio()
    monkeypatch.setenv("MINIO_API_STALE_UPLOADS_EXPIRY", f"{EXPIRY_S}s")
    monkeypatch.setenv("MINIO_API_STALE_UPLOADS_CLEANUP_INTERVAL", "1s")
    with running_stack(
        tmp_path / "stack", "minio", "sqlite", in_memory=True, stop_grace_s=3
    ) as stack:
        yield stack


@pytest.fixture
def installation(impatient_minio: Stack, tmp_path: Path) -> Iterator[Installation]:
    made = install(impatient_minio, tmp_path)
    yield made
    made.kill_all()


async def control_multipart_is_gone(installation: Installation, upload: str) -> bool:
    async with installation.store() as s3:
        try:
            await s3.list_parts(Bucket=installation.s3_bucket, Key="control", UploadId=upload)
        except ClientError as error:
            return error.response["Error"]["Code"] == "NoSuchUpload"
    return False


@pytest.mark.minio
async def test_an_upload_that_pauses_past_the_expiry_goes_on_at_the_same_offset(
    installation: Installation,
):
    data = random.Random(5).randbytes(40 * MIB)
    settings = {
        "S3__MULTIPART_TTL_S": EXPIRY_S,
        "SWEEP__ENABLED": "true",
        "SWEEP__INTERVAL_S": 0.5,
        "UPLOADS__TOMBSTONE_S": 1500,
    }
    with installation.serving(**settings) as process:
        async with ClientSession(process.url, headers=TUS) as http:
            await make_bucket(http)
            path = await create(http, len(data))
            offset = 0
            for size in (13 * MIB, 9 * MIB):
                assert await patch(http, path, offset, data[offset : offset + size]) == 204
                offset += size
                async with installation.store() as s3:
                    control = await s3.create_multipart_upload(
                        Bucket=installation.s3_bucket, Key="control"
                    )
                deadline = time.monotonic() + 40
                while not await control_multipart_is_gone(installation, control["UploadId"]):
                    assert time.monotonic() < deadline, "MinIO drops no multipart"
                    await asyncio.sleep(0.5)
                assert await offset_of(http, path) == offset
            assert await patch(http, path, offset, data[offset:]) == 204
            async with http.get("/v1/buckets/films/objects/k") as response:
                assert response.status == 200
                found = hashlib.sha256(await response.read()).hexdigest()
            assert found == hashlib.sha256(data).hexdigest()
    assert len(process.events("upload_sealed")) >= 2
    installation.sweep(UPLOADS__TOMBSTONE_S=0)
    installation.sweep(UPLOADS__TOMBSTONE_S=0)
    assert len([key for key in await installation.store_keys() if key[:5] == "blobs"]) == 1
