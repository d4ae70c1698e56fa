"""Requests that are parsed, and yet are not what they seem."""

from __future__ import annotations

import pytest

from tests.web.serving import ROOT_KEY, Service, exchange

HOST = f"Host: a\r\nAuthorization: Bearer {ROOT_KEY}\r\n".encode()
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OBJECT = b"/v1/buckets/films/objects/a"


@pytest.mark.parametrize(
    ("version", "field", "status"),
    [
        (b"1.1", b"Transfer-Encoding: gzip, chunked", b"501"),
        (b"1.1", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", b"400"),
        (b"1.0", b"Transfer-Encoding: chunked", b"400"),
        (b"1.0", b"Connection: keep-alive\r\nTransfer-Encoding: chunked", b"400"),
        (b"2.0", b"X-A: b", b"505"),
        (b"0.9", b"X-A: b", b"505"),
    ],
)
async def test_what_is_not_spoken_is_refused_and_stores_nothing(
    service: Service, bucket: str, version: bytes, field: bytes, status: bytes
) -> None:
    head = b"PUT " + OBJECT + b" HTTP/" + version + b"\r\n" + HOST + field + b"\r\n\r\n"
    body = CHUNKS + HEALTH if b"Transfer" in field else b""
    answered = await exchange(service.port, head + body)
    assert answered.split(b" ", 2)[1] == status
    assert b"application/problem+json" in answered
    assert answered.count(b"HTTP/") == 1
    assert not service.blobs.blobs


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked "])
async def test_chunked_is_taken_however_it_is_spelt(
    service: Service, bucket: str, coding: bytes
) -> None:
    head = b"PUT " + OBJECT + b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: " + coding
    answered = await exchange(service.port, head + b"\r\n\r\n" + CHUNKS + HEALTH)
    assert answered.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 200 OK" in answered
