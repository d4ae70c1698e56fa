"""Uploads of every kind by a well-behaved client."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, FormData

from tests.e2e.installation import Installation, Process, eventually
from tests.e2e.raw_http import connected, head, read_response

MIB = 1 << 20
LARGE = 41 * MIB + 3


def content(size_bytes: int) -> bytes:
    """Bytes in which every place differs from its neighbours in other parts."""
    block = hashlib.shake_256(str(size_bytes).encode()).digest(min(size_bytes, 1_000_003))
    return (block * (size_bytes // max(len(block), 1) + 1))[:size_bytes]


async def chunked(data: bytes, size_bytes: int = 700_001) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size_bytes):
        yield data[start : start + size_bytes]


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.mark.parametrize("known", [True, False], ids=["known-length", "unknown-length"])
@pytest.mark.parametrize("size_bytes", [0, 1, 70_000, 5 * MIB, LARGE])
async def test_what_goes_up_comes_down(
    http: ClientSession, bucket: str, size_bytes: int, known: bool
) -> None:
    data = content(size_bytes)
    body = io.BytesIO(data) if known else chunked(data)
    async with http.put(
        f"{bucket}/objects/a/file.bin", data=body, headers={"Want-Repr-Digest": "sha-256=1"}
    ) as response:
        assert response.status == 201, await response.text()
        told = await response.json()
        location = response.headers["Location"]
        assert response.headers["ETag"] == told["etag"]
        assert f"sha-256=:{sha256(data)}:" in response.headers["Repr-Digest"]
    assert told["size_bytes"] == size_bytes
    assert told["digests"]["sha-256"] == sha256(data)
    async with http.get(location) as response:
        assert response.status == 200
        assert response.headers["ETag"] == told["etag"]
        assert await response.read() == data


async def test_overwrite_is_200_and_leaves_the_new_content_only(
    http: ClientSession, bucket: str
) -> None:
    path = f"{bucket}/objects/a"
    etags = []
    for status, data in ((201, b"old"), (200, b"new!")):
        async with http.put(path, data=data) as response:
            assert response.status == status
            etags.append(response.headers["ETag"])
    assert etags[0] != etags[1]
    async with http.get(path) as response:
        assert await response.read() == b"new!"
        assert response.headers["ETag"] == etags[1]


async def test_facts_come_back_with_the_object_and_its_metadata(
    http: ClientSession, bucket: str
) -> None:
    headers = {
        "Content-Type": "image/png",
        "Content-Language": "de",
        "Cache-Control": "max-age=60",
        "Content-Disposition": "attachment; filename*=UTF-8''Stra%C3%9Fe.png",
        "X-Meta-Author": "UTF-8''Zo%C3%AB",
        "X-Tags": "kind=photo&year=2026",
    }
    async with http.put(f"{bucket}/objects/ü.png", data=b"\x89PNG\r\n\x1a\n", headers=headers):
        pass
    async with http.get(f"{bucket}/metadata/ü.png") as response:
        facts = await response.json()
    assert facts["user_metadata"] == {"author": "Zoë"}
    assert facts["tags"] == {"kind": "photo", "year": "2026"}
    assert facts["filename"] == "Straße.png"
    assert facts["content_type"] == facts["sniffed_type"] == "image/png"
    async with http.get(f"{bucket}/objects/ü.png") as response:
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Content-Language"] == "de"
        assert response.headers["X-Meta-Author"] == headers["X-Meta-Author"]
        assert "max-age=60" in response.headers["Cache-Control"]
        assert "filename*=UTF-8''Stra%C3%9Fe.png" in response.headers["Content-Disposition"]


async def test_encoded_bytes_are_neither_decoded_nor_counted_decoded(
    http: ClientSession, bucket: str
) -> None:
    packed = gzip.compress(b"0" * MIB)
    headers = {"Content-Encoding": "gzip"}
    async with http.put(f"{bucket}/objects/a.gz", data=packed, headers=headers) as response:
        assert (await response.json())["size_bytes"] == len(packed)
    async with http.get(f"{bucket}/objects/a.gz") as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == packed


async def test_form_with_small_and_large_files(http: ClientSession, bucket: str) -> None:
    files = {"one.txt": b"one", "two.bin": content(12 * MIB), "three.txt": b""}
    form = FormData(quote_fields=False)
    form.add_field("prefix", "form/")
    for name, data in files.items():
        form.add_field("file", io.BytesIO(data), filename=f"C:\\docs\\{name}")
    async with http.post(f"{bucket}/objects", data=form) as response:
        assert response.status == 201, await response.text()
        items = (await response.json())["items"]
    assert [item["key"] for item in items] == [f"form/{name}" for name in files]
    for name, data in files.items():
        async with http.get(f"{bucket}/objects/form/{name}") as response:
            assert await response.read() == data


def digest_fields(data: bytes) -> dict[str, str]:
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    sha512 = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return {
        "Content-MD5": md5,
        "Content-Digest": f"sha-256=:{sha256(data)}:",
        "Repr-Digest": f"sha-512=:{sha512}:, md5=:{md5}:",
    }


@pytest.mark.parametrize("field", ["Content-MD5", "Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("size_bytes", [1000, 12 * MIB])
async def test_digest_must_fit_or_nothing_is_left(
    http: ClientSession, bucket: str, installation: Installation, field: str, size_bytes: int
) -> None:
    data = content(size_bytes)
    before = set(await installation.store_keys())
    wrong = {field: digest_fields(data[1:])[field]}
    async with http.put(f"{bucket}/objects/a", data=io.BytesIO(data), headers=wrong) as response:
        assert response.status == 400
        assert (await response.json())["code"] == "digest_mismatch"
    async with http.get(f"{bucket}/objects/a") as response:
        assert response.status == 404

    async def nothing_left() -> bool:
        return set(await installation.store_keys()) == before

    await eventually(nothing_left)
    right = {field: digest_fields(data)[field]}
    async with http.put(f"{bucket}/objects/a", data=io.BytesIO(data), headers=right) as response:
        assert response.status == 201


async def test_too_large_is_refused_before_or_at_the_limit(
    http: ClientSession, service: Process, bucket: str
) -> None:
    async with http.patch(bucket, json={"max_object_size_bytes": 100_000}) as response:
        assert response.status == 200
    path = f"{bucket}/objects/a"
    async with connected(service.port) as (reader, writer):
        writer.write(head("PUT", path, "Content-Length: 100001", "Expect: 100-continue"))
        status, fields, _ = await read_response(reader)
        assert (status, fields["connection"]) == (413, "close")
    async with http.put(path, data=chunked(content(MIB), 1000)) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "too_large"
    async with http.put(path, data=content(100_000)) as response:
        assert response.status == 201


async def test_one_of_ten_racing_creations_wins(http: ClientSession, bucket: str) -> None:
    async def create(number: int) -> tuple[int, int]:
        async with http.put(
            f"{bucket}/objects/a", data=f"{number}" * 1000, headers={"If-None-Match": "*"}
        ) as response:
            return response.status, number

    answers = await asyncio.gather(*(create(number) for number in range(10)))
    assert Counter(status for status, _ in answers) == {201: 1, 412: 9}
    (winner,) = (number for status, number in answers if status == 201)
    async with http.get(f"{bucket}/objects/a") as response:
        assert await response.text() == f"{winner}" * 1000


async def test_racing_overwrites_leave_exactly_one_of_them(
    http: ClientSession, bucket: str
) -> None:
    async def write(number: int) -> str:
        async with http.put(f"{bucket}/objects/a", data=f"{number}" * 70_000) as response:
            assert response.status in (200, 201)
            return str(response.headers["ETag"])

    etags = await asyncio.gather(*(write(number) for number in range(8)))
    async with http.get(f"{bucket}/objects/a") as response:
        text = await response.text()
        assert response.headers["ETag"] in etags
    assert len(text) == 70_000
    assert text == text[0] * 70_000


async def test_conditional_overwrite(http: ClientSession, bucket: str) -> None:
    path = f"{bucket}/objects/a"
    async with http.put(path, data=b"1") as response:
        first = response.headers["ETag"]
    async with http.put(path, data=b"2", headers={"If-Match": first}) as response:
        assert response.status == 200
    async with http.put(path, data=b"3", headers={"If-Match": first}) as response:
        assert response.status == 412
    async with http.delete(path, headers={"If-Match": first}) as response:
        assert response.status == 412
    async with http.get(path) as response:
        assert await response.read() == b"2"


async def test_idempotency_key(http: ClientSession, service: Process, bucket: str) -> None:
    path, headers = f"{bucket}/objects/a", {"Idempotency-Key": bucket}
    fields = ("Content-Length: 4", "Content-Type: application/octet-stream")
    async with connected(service.port) as (reader, writer):
        writer.write(head("PUT", path, *fields, f"Idempotency-Key: {bucket}") + b"da")
        await writer.drain()

        async def in_progress() -> bool:
            async with http.put(path, data=b"data", headers=headers) as response:
                assert response.status == 409, await response.text()
                assert response.headers["Retry-After"]
                return (await response.json())["code"] == "request_in_progress"

        await asyncio.sleep(0.5)
        assert await in_progress()
        writer.write(b"ta")
        status, _, first = await read_response(reader)
        assert status == 201
    async with http.put(path, data=b"data", headers=headers) as response:
        assert response.status == 201
        assert await response.read() == first
    async with http.put(path, data=b"longer", headers=headers) as response:
        assert response.status == 422
        assert (await response.json())["code"] == "idempotency_mismatch"
    async with http.get(path) as response:
        assert await response.read() == b"data"


async def test_delete_is_idempotent(http: ClientSession, bucket: str) -> None:
    path = f"{bucket}/objects/a"
    async with http.put(path, data=b"1"):
        pass
    for _ in range(2):
        async with http.delete(path) as response:
            assert response.status == 204
    async with http.get(path) as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["code"] == "object_not_found"
    async with http.delete(bucket) as response:
        assert response.status == 204


async def test_type_that_a_bucket_does_not_take(http: ClientSession, bucket: str) -> None:
    async with http.patch(bucket, json={"allowed_content_types": ["image/*"]}) as response:
        assert response.status == 200
    html = b"<!doctype html><script>alert(1)</script>"
    for declared in ("text/html", "image/png"):
        async with http.put(
            f"{bucket}/objects/a", data=html, headers={"Content-Type": declared}
        ) as response:
            assert response.status == 415
