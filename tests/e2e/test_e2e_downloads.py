"""Downloads: whole, by ranges, under conditions."""

from __future__ import annotations

import email
import email.policy
import hashlib
from email.message import EmailMessage

import pytest
from aiohttp import ClientSession

SIZE = 1_000_003
DATA = hashlib.shake_256(b"downloads").digest(SIZE)
HEADERS_OF_BOTH = ("ETag", "Last-Modified", "Content-Type", "Content-Length", "Repr-Digest")


@pytest.fixture
async def path(http: ClientSession, bucket: str) -> str:
    """One object with DATA in it."""
    async with http.put(f"{bucket}/objects/a.bin", data=DATA) as response:
        assert response.status == 201
    return f"{bucket}/objects/a.bin"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=65535-65536", 65535, 65537),
        ("bytes=999999-", 999_999, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-70000", SIZE - 70_000, SIZE),
        ("bytes=-9999999", 0, SIZE),
        ("bytes=5-99999999999999999999", 5, SIZE),
        ("bytes=0-", 0, SIZE),
        ("BYTES=1-2", 1, 3),
        ("bytes=10-19,15-29", 10, 30),
    ],
)
async def test_single_range(
    http: ClientSession, path: str, asked: str, start: int, end: int
) -> None:
    async with http.get(path, headers={"Range": asked}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
        assert response.content_length == end - start
        assert await response.read() == DATA[start:end]


async def test_several_ranges_come_as_multipart(http: ClientSession, path: str) -> None:
    async with http.get(path, headers={"Range": "bytes=0-9,100-299,-5"}) as response:
        assert response.status == 206
        assert response.content_type == "multipart/byteranges"
        body = await response.read()
        assert response.content_length == len(body)
        top = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    whole = email.message_from_bytes(top + body, policy=email.policy.HTTP)
    parts = list(whole.iter_parts())
    assert [part["Content-Range"] for part in parts] == [
        f"bytes 0-9/{SIZE}",
        f"bytes 100-299/{SIZE}",
        f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}",
    ]
    for part, piece in zip(parts, (DATA[:10], DATA[100:300], DATA[-5:]), strict=True):
        assert isinstance(part, EmailMessage)
        assert piece in body


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=99999999-99999999", "bytes=-0"])
async def test_range_past_the_end_is_416(http: ClientSession, path: str, asked: str) -> None:
    async with http.get(path, headers={"Range": asked}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{SIZE}"
        assert (await response.json(content_type=None))["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=a-b", "bytes=5-2", "bytes=--1", "lines=0-1", "bytes=\u0661-2"]
)
async def test_range_that_makes_no_sense_is_ignored(
    http: ClientSession, path: str, asked: str
) -> None:
    async with http.get(path, headers={"Range": asked}) as response:
        assert response.status == 200
        assert await response.read() == DATA


async def test_if_range(http: ClientSession, path: str) -> None:
    async with http.head(path) as response:
        etag, modified = response.headers["ETag"], response.headers["Last-Modified"]
    for condition, status in (
        (etag, 206),
        (modified, 206),
        ('"another"', 200),
        (f"W/{etag}", 200),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 200),
    ):
        headers = {"Range": "bytes=1-5", "If-Range": condition}
        async with http.get(path, headers=headers) as response:
            assert response.status == status
            assert await response.read() == (DATA[1:6] if status == 206 else DATA)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions(http: ClientSession, path: str, method: str) -> None:
    async with http.head(path) as response:
        etag, modified = response.headers["ETag"], response.headers["Last-Modified"]
    early, late = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"x", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": early}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": modified}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{etag}"}, 412),
        ({"If-Unmodified-Since": late}, 200),
        ({"If-Unmodified-Since": early}, 412),
        ({"If-Match": '"x"', "If-None-Match": etag}, 412),
    ):
        async with http.request(method, path, headers=headers) as response:
            assert response.status == status, headers
            if status == 304:
                assert response.headers["ETag"] == etag
                assert await response.read() == b""


async def test_head_tells_what_get_tells(http: ClientSession, path: str) -> None:
    async with http.get(path) as response:
        got = {name: response.headers.get(name) for name in HEADERS_OF_BOTH}
    async with http.head(path) as response:
        assert {name: response.headers.get(name) for name in HEADERS_OF_BOTH} == got
        assert await response.read() == b""
    assert got["Content-Length"] == str(SIZE)


async def test_empty_object_has_no_range(http: ClientSession, bucket: str) -> None:
    async with http.put(f"{bucket}/objects/empty", data=b""):
        pass
    async with http.get(f"{bucket}/objects/empty", headers={"Range": "bytes=0-"}) as response:
        assert response.status == 416
    async with http.get(f"{bucket}/objects/empty") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_named_version_is_immutable_and_gone_after_an_overwrite(
    http: ClientSession, path: str
) -> None:
    async with http.head(path) as response:
        version = response.headers["ETag"].strip('"')
    async with http.get(path, params={"version": version}) as response:
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
    async with http.put(path, data=b"new"):
        pass
    async with http.get(path, params={"version": version}) as response:
        assert response.status == 404


async def test_reader_of_an_overwritten_object_gets_all_of_the_old_one(
    http: ClientSession, path: str
) -> None:
    async with http.get(path) as response:
        first = await response.content.readexactly(1000)
        async with http.put(path, data=b"new") as overwritten:
            assert overwritten.status == 200
        assert first + await response.read() == DATA


async def test_what_could_run_is_never_shown_in_place(http: ClientSession, bucket: str) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    async with http.put(
        f"{bucket}/objects/a.png", data=page, headers={"Content-Type": "image/png"}
    ):
        pass
    async with http.get(f"{bucket}/objects/a.png") as response:
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
