"""GET and HEAD of an object, over a real socket."""

import asyncio
import base64
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import pytest
from aiohttp import ClientError
from yarl import URL

from service.errors import StoreUnavailable
from service.model.api_key import Scope
from service.model.bucket import BucketSettings
from service.model.ids import DEFAULT_TENANT
from service.model.version import ObjectFacts
from service.protocol.http_dates import format_http_date
from service.settings import MIB, Http
from service.usecases import get_object as get_object_module
from service.usecases.put_object import PutRequest, put_object

DATA = random.Random(7).randbytes(1000)
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 50
OBJECT = "/v1/buckets/films/objects/"


async def store(service, data, key="a", **facts):
    """Put an object past HTTP and return its version."""

    async def body():
        if data:
            yield data

    request = PutRequest(
        DEFAULT_TENANT, "films", key, ObjectFacts(**facts), wanted_digests=frozenset({"sha-256"})
    )
    return (await put_object(service.runtime, request, body())).version


async def get(service, path="a", method="GET", **kwargs):
    """Status, headers, body."""
    async with service.fetch(method, OBJECT + path, **kwargs) as response:
        return response.status, response.headers, await response.read()


@pytest.fixture
async def version(service, bucket):
    return await store(service, DATA)


async def test_a_get_gives_the_bytes_and_says_what_they_are(service, bucket):
    version = await store(
        service,
        DATA,
        content_type="video/mp4; codecs=x",
        content_language="de",
        cache_control="private, max-age=5",
        filename="naïve.mp4",
        user_metadata={"title": "naïve", "plain": "x"},
        tags={"a": "b c", "d": ""},
    )
    status, headers, body = await get(service)
    assert (status, body) == (200, DATA)
    assert headers["ETag"] == f'"{version.id}"'
    assert headers["Last-Modified"] == format_http_date(version.modified_at)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Length"] == "1000"
    assert headers["Content-Type"] == "video/mp4; codecs=x"
    assert headers["Content-Language"] == "de"
    assert headers["Cache-Control"] == "private, max-age=5"
    assert headers["X-Meta-title"] == "UTF-8''na%C3%AFve"
    assert headers["X-Meta-plain"] == "x"
    assert headers["X-Tags"] == "a=b+c&d="
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    sha256 = base64.b64encode(version.digests["sha-256"]).decode()
    assert f"sha-256=:{sha256}:" in headers["Repr-Digest"]
    assert "crc64nvme=:" in headers["Repr-Digest"]
    assert headers["Content-Disposition"].startswith("attachment;")
    assert "filename*=UTF-8''na%C3%AFve.mp4" in headers["Content-Disposition"]


async def test_a_head_has_the_fields_of_the_get_and_never_asks_the_store(service, version):
    _, expected, _ = await get(service)
    service.blobs.blobs.clear()
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=5000-"}):
        status, found, body = await get(service, method="HEAD", headers=headers)
        assert (status, body) == (200, b"")
        moving = {"date", "x-request-id"}
        assert {k: v for k, v in found.items() if k.lower() not in moving} == {
            k: v for k, v in expected.items() if k.lower() not in moving
        }


async def test_an_empty_object_is_a_body_of_nothing(service, bucket):
    await store(service, b"")
    status, headers, body = await get(service)
    assert (status, body, headers["Content-Length"]) == (200, b"", "0")
    status, headers, _ = await get(service, headers={"Range": "bytes=0-"})
    assert (status, headers["Content-Range"]) == (416, "bytes */0")
    status, headers, _ = await get(service, headers={"Range": "bytes=-5"})
    assert (status, headers["Content-Length"]) == (200, "0")


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, 1000),
        ("bytes=-10", 990, 1000),
        ("bytes=-5000", 0, 1000),
        ("bytes=900-5000", 900, 1000),
        ("bytes=10-14, 12-19", 10, 20),
        ("bytes=10-14, 15-19, 5000-", 10, 20),
    ],
)
async def test_a_range_is_answered_byte_for_byte(service, version, field, start, end):
    status, headers, body = await get(service, headers={"Range": field})
    assert (status, body) == (206, DATA[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/1000"
    assert headers["Content-Length"] == str(end - start)
    assert headers["ETag"] == f'"{version.id}"'
    assert "Repr-Digest" in headers


@pytest.mark.parametrize("field", ["bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=0-1,x", "bytes="])
async def test_a_malformed_range_is_ignored(service, version, field):
    status, headers, body = await get(service, headers={"Range": field})
    assert (status, body) == (200, DATA)
    assert "Content-Range" not in headers


async def test_a_range_past_the_end_is_a_416_with_the_size(service, version):
    async with service.fetch("GET", OBJECT + "a", headers={"Range": "bytes=1000-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == "bytes */1000"
        problem = await response.json(content_type="application/problem+json")
        assert problem["code"] == "range_not_satisfiable"
        assert problem["size_bytes"] == 1000


async def test_several_ranges_come_as_multipart_in_the_order_asked_for(service, bucket):
    await store(service, DATA, content_type="text/x-thing")
    status, headers, body = await get(
        service, headers={"Range": "bytes=500-509,0-4,-3,505-514,4000-"}
    )
    assert status == 206
    assert "Content-Range" not in headers
    assert headers["Content-Length"] == str(len(body))
    message = message_from_bytes(
        b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    )
    parts = [
        (part["Content-Range"], part["Content-Type"], part.get_payload(decode=True))
        for part in message.get_payload()
    ]
    assert parts == [
        ("bytes 500-514/1000", "text/x-thing", DATA[500:515]),
        ("bytes 0-4/1000", "text/x-thing", DATA[:5]),
        ("bytes 997-999/1000", "text/x-thing", DATA[-3:]),
    ]


async def test_more_than_a_hundred_ranges_get_the_whole(service, version):
    field = "bytes=" + ",".join(f"{3 * n}-{3 * n}" for n in range(101))
    status, _, body = await get(service, headers={"Range": field})
    assert (status, body) == (200, DATA)


async def test_if_range_decides_between_the_part_and_the_whole(service, version):
    date = format_http_date(version.modified_at)
    later = format_http_date(version.modified_at + timedelta(seconds=1))
    for condition, status in (
        (f'"{version.id}"', 206),
        (date, 206),
        (f'W/"{version.id}"', 200),
        ('"other"', 200),
        (later, 200),
        ("nonsense", 200),
    ):
        headers = {"Range": "bytes=0-1", "If-Range": condition}
        assert (await get(service, headers=headers))[0] == status, condition
    headers = {"Range": "bytes=5000-", "If-Range": '"other"'}
    assert (await get(service, headers=headers))[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_are_answered_with_304_and_412(service, version, method):
    tag = f'"{version.id}"'
    date = format_http_date(version.modified_at)
    before = format_http_date(version.modified_at - timedelta(seconds=1))
    for headers, expected in (
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"', "If-Modified-Since": date}, 200),
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": before}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"W/{tag}"}, 412),
        ({"If-Match": '"x"', "If-None-Match": tag}, 412),
        ({"If-Unmodified-Since": before}, 412),
        ({"If-Unmodified-Since": date}, 200),
        ({"If-None-Match": tag, "Range": "bytes=5000-"}, 304),
        ({"If-Match": '"x"', "Range": "bytes=5000-"}, 412),
        ({"If-None-Match": "x"}, 400),
    ):
        status, found, body = await get(service, method=method, headers=headers)
        assert status == expected, headers
        if status == 304:
            assert body == b""
            assert found["ETag"] == tag
            assert found["Cache-Control"] == "private, no-cache"
            assert "Content-Length" not in found
            assert "Content-Disposition" not in found


async def test_conditions_do_not_matter_where_there_is_nothing(service, bucket):
    for headers in ({"If-Match": "*"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}):
        assert (await get(service, "nothing", headers=headers))[0] == 404


async def test_what_is_not_there_is_a_404_that_says_what(service, bucket):
    for path, code in (
        (OBJECT + "a", "object_not_found"),
        ("/v1/buckets/other-bucket/objects/a", "bucket_not_found"),
        (OBJECT + "a?version=01ARZ3NDEKTSV4RRFFQ69G5FAV", "object_not_found"),
        (OBJECT + "a?version=$ne", "object_not_found"),
    ):
        async with service.fetch("GET", path) as response:
            assert response.status == 404
            problem = await response.json(content_type="application/problem+json")
            assert problem["code"] == code
    assert (await get(service, "a?version="))[0] == 400


async def test_keys_are_decoded_once(service, bucket):
    await store(service, b"1", "a/b c")
    await store(service, b"2", "a%2Fb")
    for path, expected in (
        ("a/b%20c", b"1"),
        ("a%2Fb%20c", b"1"),
        ("a%252Fb", b"2"),
        ("a/b+c", None),
    ):
        status, _, body = await get(service, str(URL(path, encoded=True)))
        assert (status, body) == (200, expected) if expected else status == 404


@pytest.mark.parametrize(
    "path", ["%2e%2e", "a/%2e%2e/b", "a//b", "%00", "a%5Cb", "%C0%AF", "%FF", "a%0Ab", "", "a/"]
)
async def test_bad_keys_are_refused_on_the_raw_target(service, bucket, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    key = "mg_root_for_the_tests"
    head = f"GET {OBJECT}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(head.encode())
    status = await reader.readline()
    assert status.split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


async def test_a_url_with_a_version_may_be_kept_for_ever(service, version):
    _, headers, _ = await get(service, f"a?version={version.id}")
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    _, headers, _ = await get(service)
    assert headers["Cache-Control"] == "private, no-cache"
    await store(service, DATA, cache_control="no-store")
    newer = await store(service, DATA, "b", cache_control="public, max-age=1")
    _, headers, _ = await get(service, f"b?version={newer.id}")
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    secret = await store(service, DATA, "c", cache_control="no-store")
    _, headers, _ = await get(service, f"c?version={secret.id}")
    assert headers["Cache-Control"] == "no-store"


async def test_a_bucket_lends_its_cache_control(service, version):
    buckets = service.metadata.buckets
    bucket = await buckets.get(DEFAULT_TENANT, "films")
    await buckets.update(
        DEFAULT_TENANT, bucket.id, BucketSettings(cache_control="max-age=9"), revision=1
    )
    assert (await get(service))[1]["Cache-Control"] == "max-age=9"


@pytest.mark.parametrize(
    ("data", "declared", "kind"),
    [
        (PNG, "image/png", "inline"),
        (PNG, "application/octet-stream", "inline"),
        (b"plain words", "text/plain", "inline"),
        (PNG, "text/html", "attachment"),
        (PNG, "image/svg+xml", "attachment"),
        (b"<html><script>x</script>", "image/png", "attachment"),
        (b"<html><script>x</script>", "text/plain", "attachment"),
        (b"<svg xmlns='x' onload='x'/>", "image/svg+xml", "attachment"),
        (b"<?xml version='1.0'?><a/>", "text/xml", "attachment"),
        (b"%PDF-1.7 ", "application/pdf", "attachment"),
        (b"\x00\x01\x02", "image/png", "attachment"),
    ],
)
async def test_only_what_looks_harmless_is_shown_in_place(service, bucket, data, declared, kind):
    await store(service, data, "dir/x.bin", content_type=declared)
    _, headers, _ = await get(service, "dir/x.bin")
    assert headers["Content-Disposition"].partition(";")[0] == kind
    assert 'filename="x.bin"' in headers["Content-Disposition"]
    assert headers["Content-Type"] == declared


async def test_download_makes_an_attachment_of_any_name(service, bucket):
    await store(service, PNG, "x.png", content_type="image/png")
    _, headers, _ = await get(service, "x.png?download=n%C3%A4me%0d%0aX:%20y.png")
    field = headers["Content-Disposition"]
    assert field.startswith("attachment;")
    assert field.endswith("filename*=UTF-8''n%C3%A4meX%3A%20y.png")
    assert "X" not in headers
    for path in ("x.png?download=", "x.png?download=..", "x.png?download=%2F"):
        _, headers, _ = await get(service, path)
        assert headers["Content-Disposition"].startswith('attachment; filename="x.png"')
    _, headers, _ = await get(service, "x.png?download=..%2F..%2Fetc%2Fpasswd")
    assert 'filename="passwd"' in headers["Content-Disposition"]


async def test_a_stored_content_coding_comes_back_untouched(service, bucket):
    await store(service, b"\x1f\x8b not really", content_encoding="gzip")
    async with service.session.get(
        service.url + OBJECT + "a",
        headers={"Authorization": "Bearer mg_root_for_the_tests", "Range": "bytes=0-1"},
        auto_decompress=False,
    ) as response:
        assert response.status == 206
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == b"\x1f\x8b"


async def test_reading_needs_the_scope(service, version):
    key = await service.make_key(Scope.WRITE, Scope.LIST)
    assert (await get(service, key=key))[0] == 403
    assert (await get(service, key=None))[0] == 401
    key = await service.make_key(Scope.READ, prefixes=("b/",))
    assert (await get(service, key=key))[0] == 403
    key = await service.make_key(Scope.READ, prefixes=("a",))
    assert (await get(service, key=key))[0] == 200


async def test_a_blob_gone_before_the_first_byte_is_looked_up_once_more(service, version, bucket):
    found = service.metadata.versions.get_latest
    newer = DATA[::-1]
    await store(service, newer)
    calls = []

    async def stale_first(*args):
        calls.append(args)
        return version if len(calls) == 1 else await found(*args)

    service.metadata.versions.get_latest = stale_first
    del service.blobs.blobs[version.blob_key]
    status, _, body = await get(service)
    assert (status, body, len(calls)) == (200, newer, 2)


async def test_a_blob_that_is_really_gone_is_an_error_before_the_first_byte(service, version):
    service.blobs.blobs.clear()
    status, headers, _ = await get(service)
    assert status == 500
    assert headers["Content-Type"] == "application/problem+json"


def breaking(service, monkeypatch, *, after, error=None, pause_s=0.0):
    """Make every read of a blob stop after so many bytes. Returns how many are open."""
    monkeypatch.setattr(get_object_module, "_PAUSE_S", 0)
    data = service.blobs.blobs
    open_reads = []

    @asynccontextmanager
    async def read(key, start, end):
        async def chunks():
            for position in range(start, min(end, after), 100):
                await asyncio.sleep(pause_s)
                yield data[key][position : min(end, after, position + 100)]
            if end > after:
                raise error or StoreUnavailable("the store went away")

        open_reads.append(key)
        try:
            yield chunks()
        finally:
            open_reads.remove(key)

    monkeypatch.setattr(service.blobs, "read", read)
    return open_reads


async def test_a_store_lost_in_mid_stream_cuts_the_connection(service, version, monkeypatch):
    open_reads = breaking(service, monkeypatch, after=300)
    async with service.fetch("GET", OBJECT + "a") as response:
        assert response.status == 200
        received = b""
        with pytest.raises(ClientError):  # noqa: PT012
            async for chunk in response.content.iter_any():
                received += chunk
    assert DATA.startswith(received)
    assert len(received) <= 300
    assert open_reads == []


async def test_nothing_is_appended_to_a_body_that_broke(service, version, monkeypatch):
    breaking(service, monkeypatch, after=300, error=RuntimeError("a bug"))
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        f"GET {OBJECT}a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mg_root_for_the_tests\r\n\r\n"
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    raw = b""
    try:
        while chunk := await reader.read(65536):
            raw += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert raw.count(b"HTTP/1.1") == 1
    body = raw.partition(b"\r\n\r\n")[2]
    assert DATA.startswith(body)
    assert len(body) < len(DATA)


async def test_a_second_range_that_breaks_cuts_the_connection_too(service, version, monkeypatch):
    breaking(service, monkeypatch, after=300)
    async with service.fetch("GET", OBJECT + "a", headers={"Range": "bytes=0-9,500-509"}) as found:
        assert found.status == 206
        with pytest.raises(ClientError):
            await found.read()


async def test_a_store_that_does_not_answer_at_all_is_a_503(service, version, monkeypatch):
    @asynccontextmanager
    async def read(key, start, end):
        raise StoreUnavailable
        yield

    monkeypatch.setattr(service.blobs, "read", read)
    status, headers, _ = await get(service)
    assert status == 503
    assert "Retry-After" in headers


async def test_a_client_that_goes_away_gives_its_read_back(service, version, monkeypatch):
    open_reads = breaking(service, monkeypatch, after=1000, pause_s=0.2)
    response = await service.fetch("GET", OBJECT + "a")
    await response.content.readany()
    assert len(open_reads) == 1
    response.close()
    for _ in range(50):
        if not open_reads:
            break
        await asyncio.sleep(0.02)
    assert open_reads == []


async def test_a_download_ends_at_its_deadline(start, monkeypatch):
    async with start(http=Http(max_download_s=0.5)) as service:
        await service.metadata.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
        await store(service, DATA)
        open_reads = breaking(service, monkeypatch, after=1000, pause_s=0.2)
        async with service.fetch("GET", OBJECT + "a") as response:
            with pytest.raises(ClientError):
                await response.read()
        assert open_reads == []


async def test_a_client_that_reads_nothing_is_cut_off(start, monkeypatch):
    async with start(http=Http(idle_timeout_s=0.3)) as service:
        await service.metadata.buckets.create(DEFAULT_TENANT, "films", BucketSettings())
        version = await store(service, b"x")
        size_bytes = 64 * MIB
        open_reads = []

        @asynccontextmanager
        async def read(key, start, end):
            async def chunks():
                for _ in range(size_bytes // MIB):
                    yield bytes(MIB)

            open_reads.append(key)
            try:
                yield chunks()
            finally:
                open_reads.remove(key)

        monkeypatch.setattr(service.blobs, "read", read)
        large = replace(version, size_bytes=size_bytes)

        async def get_latest(*args):
            return large

        service.metadata.versions.get_latest = get_latest
        _, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
        writer.write(
            f"GET {OBJECT}a HTTP/1.1\r\nHost: x\r\n"
            "Authorization: Bearer mg_root_for_the_tests\r\n\r\n".encode()
        )
        await asyncio.sleep(0.2)
        assert len(open_reads) == 1
        for _ in range(100):
            if not open_reads:
                break
            await asyncio.sleep(0.02)
        assert open_reads == []
        writer.transport.abort()
        counted = service.runtime.metrics.render().decode()
        assert 'status="408"' in counted  # it was the client's doing, not ours
        assert 'status="500"' not in counted


async def test_an_overwrite_in_the_same_second_does_not_pass_for_the_old_by_its_tag(
    service, version
):
    newer = await store(service, DATA[::-1])
    headers = {"Range": "bytes=0-9", "If-Range": f'"{version.id}"'}
    status, found, body = await get(service, headers=headers)
    assert (status, body) == (200, DATA[::-1])
    assert found["ETag"] == f'"{newer.id}"'


async def test_last_modified_has_whole_seconds_of_gmt(service, version):
    _, headers, _ = await get(service)
    parsed = datetime.strptime(headers["Last-Modified"], "%a, %d %b %Y %H:%M:%S %Z")  # noqa: DTZ007
    assert parsed.replace(tzinfo=UTC) == version.modified_at.replace(microsecond=0)
