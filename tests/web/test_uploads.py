"""PUT and DELETE over a real socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from io import BytesIO

import pytest

from service.model.upload import UploadState
from service.settings import MIB
from tests.web.serving import ROOT_KEY, Service, exchange

OBJECT = "/v1/buckets/films/objects/a%2Fb.bin"


async def test_put_answers_with_the_version(service: Service, bucket: str) -> None:
    headers = {
        "Content-Type": "video/mp4",
        "X-Meta-Title": "UTF-8''caf%C3%A9",
        "X-Tags": "a=b&c=d",
        "Content-Disposition": 'attachment; filename="clip.mp4"',
        "Cache-Control": "max-age=5",
        "Want-Repr-Digest": "sha-256=1",
    }
    async with service.fetch("PUT", OBJECT, data=b"bytes", headers=headers) as response:
        told = await response.json()
        assert response.status == 201
        assert response.headers["Location"].endswith("/v1/buckets/films/objects/a/b.bin")
        assert response.headers["ETag"] == told["etag"]
        sha = base64.b64encode(hashlib.sha256(b"bytes").digest()).decode()
        assert f"sha-256=:{sha}:" in response.headers["Repr-Digest"]
    assert told["key"] == "a/b.bin"
    assert told["size_bytes"] == 5
    assert told["content_type"] == "video/mp4"
    assert told["user_metadata"] == {"title": "café"}
    assert told["tags"] == {"a": "b", "c": "d"}
    assert told["filename"] == "clip.mp4"
    async with service.fetch("PUT", OBJECT, data=b"other") as response:
        assert response.status == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_body_comes_back(service: Service, bucket: str, chunked: bool) -> None:
    data = bytes(range(256)) * (12 * MIB // 256)

    async def pieces():
        for position in range(0, len(data), 700_000):
            yield data[position : position + 700_000]

    body = pieces() if chunked else BytesIO(data)
    async with service.fetch("PUT", OBJECT, data=body) as response:
        assert response.status == 201
    async with service.fetch("GET", OBJECT) as response:
        assert await response.read() == data


def raw(head: str, body: bytes = b"") -> bytes:
    lines = f"{head}\r\nHost: x\r\nAuthorization: Bearer {ROOT_KEY}\r\n\r\n"
    return lines.encode() + body


async def assert_nothing_left(service: Service) -> None:
    await service.runtime.tasks.drain(5)
    states = {upload.state for upload in service.metadata.uploads.uploads.values()}
    assert states <= {UploadState.UNDONE}
    assert not service.blobs.blobs
    assert not service.blobs.multiparts


async def test_client_that_goes_away_leaves_nothing(service: Service, bucket: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"PUT {OBJECT} HTTP/1.1\r\nContent-Length: {30 * MIB}"
    writer.write(raw(head, b"x" * (9 * MIB)))
    await writer.drain()
    async with asyncio.timeout(5):
        while not service.metadata.uploads.uploads:
            await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(5):
        while {u.state for u in service.metadata.uploads.uploads.values()} != {UploadState.UNDONE}:
            await asyncio.sleep(0.01)
    await assert_nothing_left(service)


async def test_broken_chunking_leaves_nothing(service: Service, bucket: str) -> None:
    head = f"PUT {OBJECT} HTTP/1.1\r\nTransfer-Encoding: chunked"
    told = await exchange(service.port, raw(head, b"5\r\nhello\r\nzz\r\nx"))
    assert b" 400 " in told.partition(b"\r\n")[0]
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] in ("incomplete_body", "invalid")
    await assert_nothing_left(service)


async def test_wrong_digest_is_refused(service: Service, bucket: str) -> None:
    headers = {"Content-MD5": base64.b64encode(b"x" * 16).decode()}
    async with service.fetch("PUT", OBJECT, data=b"y", headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["code"] == "digest_mismatch"
    await assert_nothing_left(service)


async def test_content_range_is_refused(service: Service, bucket: str) -> None:
    headers = {"Content-Range": "bytes 0-4/10"}
    async with service.fetch("PUT", OBJECT, data=b"hello", headers=headers) as response:
        assert response.status == 400


async def test_expectation_is_answered_only_after_admission(service: Service, bucket: str) -> None:
    head = "PUT {} HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close"
    refused = head.format("/v1/buckets/none-such/objects/a")
    told = await exchange(service.port, raw(refused))
    assert told.startswith(b"HTTP/1.1 404")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(raw(head.format(OBJECT)))
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    writer.write(b"hello")
    assert b"HTTP/1.1 201" in await reader.read()
    writer.close()


async def test_replay_tells_the_first_answer_without_reading_the_body(
    service: Service, bucket: str
) -> None:
    headers = {"Idempotency-Key": "k1"}
    async with service.fetch("PUT", OBJECT, data=b"once", headers=headers) as response:
        first = await response.json()
    async with service.fetch("PUT", OBJECT, data=b"once", headers=headers) as response:
        assert response.status == 201
        assert response.headers["Idempotency-Replayed"] == "true"
        assert await response.json() == first
    async with service.fetch("PUT", OBJECT, data=b"other!", headers=headers) as response:
        assert response.status == 422


async def test_encoded_body_is_kept_as_it_is(service: Service, bucket: str) -> None:
    packed = b"\x1f\x8b\x08\x00not really gzip"
    headers = {"Content-Encoding": "gzip"}
    async with service.fetch("PUT", OBJECT, data=packed, headers=headers, compress=False) as told:
        assert told.status == 201
        assert (await told.json())["size_bytes"] == len(packed)


async def test_delete_is_idempotent_and_conditional(service: Service, bucket: str) -> None:
    async with service.fetch("PUT", OBJECT, data=b"x") as response:
        etag = response.headers["ETag"]
    async with service.fetch("DELETE", OBJECT, headers={"If-Match": '"other"'}) as response:
        assert response.status == 412
    async with service.fetch("DELETE", OBJECT + "?version=other") as response:
        assert response.status == 204
    async with service.fetch("GET", OBJECT) as response:
        assert response.status == 200
    async with service.fetch("DELETE", OBJECT, headers={"If-Match": etag}) as response:
        assert response.status == 204
    async with service.fetch("DELETE", OBJECT) as response:
        assert response.status == 204
    async with service.fetch("GET", OBJECT) as response:
        assert response.status == 404
