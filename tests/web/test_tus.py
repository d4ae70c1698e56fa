"""tus 1.0.0: every MUST of its text that is about a server, each named by the test that holds it.

What the text says is in `MUSTS`, in our words, by section; `@must` says which a test is about, and
the last test that none is left out. https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from awscrt import checksums

from service.model.api_key import Scope
from service.model.blob import StoreAbilities
from service.protocol.http_dates import parse_http_date
from service.settings import MIB, Limits
from service.web.state import ABILITIES
from tests.web.serving import ORIGIN, Service, Start, exchange
from tests.web.tus_client import BODY_TYPE, FILMS, Tus, b64, metadata_of

MUSTS = {
    "offset": "Upload-Offset is a non-negative integer",
    "length": "Upload-Length is a non-negative integer",
    "version list": "Tus-Version lists versions, the preferred one first",
    "resumable": "Tus-Resumable is in every request and answer but those of OPTIONS",
    "412": "another version is answered 412 with Tus-Version, and the request is not processed",
    "extension list": "Tus-Extension lists extensions",
    "max size": "Tus-Max-Size is a non-negative integer",
    "override": "X-HTTP-Method-Override is the method, the actual one is ignored",
    "head offset": "HEAD always tells Upload-Offset, 0 and completed uploads included",
    "head length": "HEAD tells Upload-Length where it is known",
    "head cache": "HEAD says Cache-Control: no-store",
    "patch type": "PATCH has Content-Type: application/offset+octet-stream",
    "409": "another Upload-Offset than the current one is answered 409 and modifies nothing",
    "204": "a successful PATCH is answered 204 with the new Upload-Offset",
    "sum": "the new offset is the old one plus the bytes that were stored",
    "options": "OPTIONS tells Tus-Version, and ignores Tus-Resumable",
    "creation": "`creation` is in Tus-Extension",
    "defer": "Upload-Defer-Length is 1, or absent",
    "metadata": "Upload-Metadata has unique keys without spaces and commas, and Base64 values",
    "either": "a creation has Upload-Length or Upload-Defer-Length",
    "defer later": "a deferred length comes with a PATCH, and does not change after that",
    "defer head": "HEAD tells Upload-Defer-Length: 1 as long as the length is not known",
    "defer extension": "`creation-defer-length` is in Tus-Extension",
    "head metadata": "HEAD tells Upload-Metadata as it came",
    "413": "a length over the maximum is answered 413",
    "201": "a creation is answered 201 with Location",
    "with upload": "`creation-with-upload` is in Tus-Extension, with `creation` only",
    "with upload type": "a creation with bytes has the Content-Type of a PATCH",
    "with upload offset": "its answer has Upload-Offset after the bytes that were accepted",
    "expiration": "`expiration` is in Tus-Extension",
    "expires patch": "every answer to a PATCH tells Upload-Expires where the upload expires",
    "expires post": "so does the answer to the creation",
    "expires format": "Upload-Expires is an HTTP date",
    "checksum": "`checksum` is in Tus-Extension",
    "verify": "the body is verified against Upload-Checksum",
    "discard": "with an unknown algorithm, or on a mismatch, nothing is kept and the offset stays",
    "sha1": "sha1 is supported",
    "algorithm names": "names of algorithms are lower-case ASCII",
    "algorithm list": "OPTIONS tells Tus-Checksum-Algorithm, a list",
    "trailer": "`checksum-trailer` is announced where trailers are handled",
    "checksum format": "Upload-Checksum is a name, a space and Base64",
    "termination": "`termination` is in Tus-Extension",
    "delete": "DELETE of an upload is answered 204",
    "concatenation": "`concatenation` is in Tus-Extension",
    "final length": "a final upload is as long as its partial ones together",
    "final order": "they are joined in the order of the list",
    "unfinished": "`concatenation-unfinished` is announced where that is possible",
    "403": "PATCH of a final upload is answered 403 and modifies nothing",
    "final head": "HEAD of a final upload tells Upload-Offset and Upload-Length, which are equal",
    "partial head": "HEAD of a partial upload tells Upload-Offset, and Upload-Length where known",
    "concat head": "HEAD of either tells Upload-Concat as it came",
    "concat format": "Upload-Concat is `partial`, or `final;` and URLs",
}
HELD: set[str] = set()
Test = TypeVar("Test", bound=Callable[..., Any])


def must(*names: str) -> Callable[[Test], Test]:
    assert set(names) <= set(MUSTS)
    HELD.update(names)
    return lambda test: test


@pytest.fixture
def tus(service: Service, bucket: str) -> Tus:
    return Tus(service)


@must("creation", "201", "204", "sum", "head offset", "head length", "head cache", "resumable")
async def test_an_upload_in_two_halves(tus: Tus):
    url = await tus.create(10)
    assert url.startswith(f"{tus.service.url}/v1/uploads/")
    head = await tus.head(url)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("0", "10")
    assert head.headers["Cache-Control"] == "no-store"
    for offset, data in ((0, b"01234"), (5, b"56789")):
        done = await tus.patch(url, offset, data)
        assert done.status == 204
        assert done.headers["Upload-Offset"] == str(offset + 5)
        assert done.headers["Tus-Resumable"] == "1.0.0"
    assert await tus.stored() == b"0123456789"
    assert "ETag" in done.headers
    head = await tus.head(url)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("10", "10")
    assert head.headers["Cache-Control"] == "no-store"
    again = await tus.patch(url, 10, b"")
    assert (again.status, again.headers["Upload-Offset"]) == (204, "10")


@must("offset", "length")
@pytest.mark.parametrize("bad", ["-1", "1.5", "ten", "", "0x10", "１", "+1", "1 2"])
async def test_numbers_are_non_negative_integers(tus: Tus, bad: str):
    url = await tus.create(10)
    told = bad.encode("utf-8").decode("latin-1") if not bad.isascii() else bad
    wrong = await tus.ask("PATCH", url, b"x", Upload_Offset=told, Content_Type=BODY_TYPE)
    assert wrong.status == 400
    created = await tus.ask(
        "POST", "/v1/uploads", Upload_Length=told, Upload_Metadata=metadata_of(FILMS)
    )
    assert created.status == 400
    assert await tus.offset(url) == 0
    without = await tus.ask("PATCH", url, b"x", Content_Type=BODY_TYPE)
    assert without.status == 400


@must("412", "resumable", "version list")
@pytest.mark.parametrize("version", ["0.2.2", "1.0", "2.0.0", ""])
async def test_another_version_is_not_processed(tus: Tus, version: str):
    url = await tus.create(3)
    asked = [
        await tus.ask(
            "POST",
            "/v1/uploads",
            resumable=version,
            Upload_Length="3",
            Upload_Metadata=metadata_of({"bucket": "films", "key": "other"}),
        ),
        await tus.ask(
            "PATCH",
            url,
            b"abc",
            resumable=version,
            Upload_Offset="0",
            Content_Type=BODY_TYPE,
        ),
        await tus.ask("HEAD", url, resumable=version),
        await tus.ask("DELETE", url, resumable=version),
    ]
    for answer in asked:
        assert answer.status == 412
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert await tus.offset(url) == 0
    async with tus.service.fetch("GET", "/v1/uploads") as response:
        assert len((await response.json())["items"]) == 1


@must("resumable")
async def test_without_any_version_it_is_no_request_of_tus(tus: Tus):
    created = await tus.ask(
        "POST",
        "/v1/uploads",
        resumable=None,
        Upload_Length="3",
        Upload_Metadata=metadata_of(FILMS),
    )
    assert (created.status, created.headers["Tus-Version"]) == (412, "1.0.0")
    url = await tus.create(3)
    patched = await tus.ask(
        "PATCH", url, b"abc", resumable=None, Upload_Offset="0", Content_Type=BODY_TYPE
    )
    assert (patched.status, patched.headers["Tus-Version"]) == (412, "1.0.0")


@must("resumable")
async def test_errors_carry_the_version_too(tus: Tus):
    for answer in (
        await tus.ask("HEAD", "/v1/uploads/none"),
        await tus.ask("HEAD", "/v1/uploads/none", key="mg_wrong"),
        await tus.ask("PUT", "/v1/uploads/none", b""),
        await tus.ask("POST", "/v1/uploads"),
    ):
        assert answer.status >= 400
        assert answer.headers["Tus-Resumable"] == "1.0.0"


@must(
    "options", "version list", "extension list", "max size", "creation", "defer extension",
    "with upload", "expiration", "checksum", "termination", "concatenation", "algorithm list",
    "algorithm names", "sha1", "trailer", "unfinished",
)  # fmt: skip
async def test_options_tell_the_truth(start: Start):
    async with start(limits=Limits(byte_budget_bytes=32 * MIB, max_object_bytes=12345)) as service:
        for path in ("/v1/uploads", "/v1/uploads/some"):
            for version in (None, "0.1.0"):
                tus = Tus(service)
                told = await tus.ask("OPTIONS", path, resumable=version, key="")
                assert told.status == 204
                assert told.headers["Tus-Version"] == "1.0.0"
                assert told.headers["Tus-Max-Size"] == "12345"
                extensions = told.headers["Tus-Extension"].split(",")
                assert set(extensions) == {
                    "creation", "creation-with-upload", "creation-defer-length", "expiration",
                    "checksum", "termination", "concatenation",
                }  # fmt: skip
                algorithms = told.headers["Tus-Checksum-Algorithm"].split(",")
                assert {"sha1", "sha256", "md5", "crc32c"} <= set(algorithms)
                assert all(name == name.lower() and name.isascii() for name in algorithms)
        abilities: StoreAbilities = service.app[ABILITIES]
        object.__setattr__(abilities, "copies_parts", False)
        told = await Tus(service).ask("OPTIONS", "/v1/uploads")
        assert "concatenation" not in told.headers["Tus-Extension"]


@must("override")
async def test_the_method_may_come_in_a_field(tus: Tus):
    url = await tus.create(6)
    done = await tus.ask(
        "POST",
        url,
        b"abc",
        Upload_Offset="0",
        Content_Type=BODY_TYPE,
        X_HTTP_Method_Override="PATCH",
    )
    assert (done.status, done.headers["Upload-Offset"]) == (204, "3")
    head = await tus.ask("POST", url, b"", X_HTTP_Method_Override="HEAD")
    assert (head.status, head.headers["Upload-Offset"]) == (200, "3")
    done = await tus.ask(
        "DELETE",
        url,
        b"de",
        Upload_Offset="3",
        Content_Type=BODY_TYPE,
        X_HTTP_Method_Override="PATCH",
    )
    assert (done.status, done.headers["Upload-Offset"]) == (204, "5")
    ended = await tus.ask("PATCH", url, b"", X_HTTP_Method_Override="delete")
    assert ended.status == 204
    assert (await tus.ask("HEAD", url)).status == 410
    wrong = await tus.ask("POST", url, b"", X_HTTP_Method_Override="PUT")
    assert wrong.status == 400
    assert (await tus.ask("POST", url, b"")).status == 400


@must("patch type")
@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "application/json"])
async def test_a_patch_of_another_type_is_refused(tus: Tus, kind: str):
    url = await tus.create(3)
    assert (await tus.patch(url, 0, b"abc", Content_Type=kind)).status == 415
    assert await tus.offset(url) == 0


@must("409")
@pytest.mark.parametrize("offset", [0, 2, 4, 100])
async def test_another_offset_is_a_conflict(tus: Tus, offset: int):
    url = await tus.create(10)
    await tus.patch(url, 0, b"abc")
    wrong = await tus.patch(url, offset, b"xyz")
    assert wrong.status == 409
    assert wrong.headers["Upload-Offset"] == "3"
    assert await tus.offset(url) == 3
    await tus.patch(url, 3, b"defghij")
    assert await tus.stored() == b"abcdefghij"


async def test_more_than_the_length_is_refused(tus: Tus):
    url = await tus.create(3)
    assert (await tus.patch(url, 0, b"abcd")).status == 413
    assert await tus.offset(url) == 0


# creation


@must("defer", "either")
@pytest.mark.parametrize(
    "told", [{}, {"Upload_Defer_Length": "0"}, {"Upload_Defer_Length": "true"},
             {"Upload_Defer_Length": "1", "Upload_Length": "3"}]
)  # fmt: skip
async def test_a_creation_tells_a_length_or_defers_it(tus: Tus, told: dict[str, str]):
    answer = await tus.ask("POST", "/v1/uploads", Upload_Metadata=metadata_of(FILMS), **told)
    assert answer.status == 400


@must("defer later", "defer head", "defer")
async def test_a_deferred_length_is_told_once(tus: Tus):
    url = await tus.create(Upload_Defer_Length="1")
    await tus.patch(url, 0, b"abc")
    head = await tus.head(url)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert (await tus.patch(url, 3, b"", Upload_Length="2")).status == 400
    assert (await tus.patch(url, 3, b"d", Upload_Length="5")).status == 204
    head = await tus.head(url)
    assert head.headers["Upload-Length"] == "5"
    assert "Upload-Defer-Length" not in head.headers
    assert (await tus.patch(url, 4, b"e", Upload_Length="6")).status == 400
    assert (await tus.patch(url, 4, b"e", Upload_Length="5")).status == 204
    assert await tus.stored() == b"abcde"


@must("metadata", "head metadata")
async def test_metadata_is_told_as_it_came_and_becomes_the_objects(tus: Tus):
    pairs = FILMS | {
        "filename": "Ferien é.mp4",
        "filetype": "video/mp4",
        "Camera": "x1",
        "note": "ä,b",
    }
    told = f"{metadata_of(pairs)},empty,blank "
    created = await tus.ask("POST", "/v1/uploads", Upload_Length="2", Upload_Metadata=told)
    url = created.headers["Location"]
    assert (await tus.head(url)).headers["Upload-Metadata"] == told.strip()
    await tus.patch(url, 0, b"ab")
    assert (await tus.head(url)).headers["Upload-Metadata"] == told.strip()
    async with tus.service.fetch("GET", "/v1/buckets/films/metadata/a/b.mp4") as response:
        facts = await response.json()
    assert facts["content_type"] == "video/mp4"
    assert facts["filename"] == "Ferien é.mp4"
    assert facts["user_metadata"] == {"camera": "x1", "note": "ä,b", "empty": "", "blank": ""}


NO_METADATA = (
    "",
    " ",
    ",",
    "bucket",
    "bucket Zmls bXM=",
    "bucket !!",
    f"bucket {b64('films')},bucket {b64('b')}",
    f"bucket {b64('films')},,key {b64('k')}",
    f"bucket {b64('films')},key {b64(bytes([255]))}",
)


@must("metadata")
@pytest.mark.parametrize("told", NO_METADATA)
async def test_metadata_that_is_none_is_refused(tus: Tus, told: str):
    answer = await tus.ask("POST", "/v1/uploads", Upload_Length="3", Upload_Metadata=told)
    assert answer.status == 400


async def test_other_servers_names_for_the_same_are_understood(tus: Tus):
    pairs = {"bucketName": "films", "objectName": "k", "contentType": "image/png",
             "cacheControl": "max-age=60"}  # fmt: skip
    url = await tus.create(1, pairs)
    await tus.patch(url, 0, b"x")
    async with tus.service.fetch("HEAD", "/v1/buckets/films/objects/k") as response:
        assert response.headers["Content-Type"] == "image/png"
    bad = await tus.ask(
        "POST", "/v1/uploads", Upload_Length="1",
        Upload_Metadata=metadata_of(pairs | {"cacheControl": "a\r\nX-Evil: 1"}),
    )  # fmt: skip
    assert bad.status == 400


@must("413")
async def test_a_length_over_the_maximum_is_413(start: Start):
    async with start(limits=Limits(byte_budget_bytes=32 * MIB, max_object_bytes=100)) as service:
        async with service.fetch("PUT", "/v1/buckets/films") as response:
            assert response.status == 201
        tus = Tus(service)
        answer = await tus.ask(
            "POST", "/v1/uploads", Upload_Length="101", Upload_Metadata=metadata_of(FILMS)
        )
        assert answer.status == 413
        url = await tus.create(Upload_Defer_Length="1")
        assert (await tus.patch(url, 0, b"", Upload_Length="101")).status == 413
        assert (await tus.patch(url, 0, b"x" * 101)).status == 413
        assert await tus.offset(url) == 0


async def test_an_empty_upload_is_complete_at_once(tus: Tus):
    url = await tus.create(0)
    assert await tus.offset(url) == 0
    assert await tus.stored() == b""


@must("with upload", "with upload type", "with upload offset")
@pytest.mark.parametrize("data", [b"abc", b"abcdef"])
async def test_a_creation_may_bring_bytes(tus: Tus, data: bytes):
    told = {"Upload_Length": "6", "Upload_Metadata": metadata_of(FILMS)}
    wrong = await tus.ask("POST", "/v1/uploads", data, Content_Type="text/plain", **told)
    assert wrong.status == 415
    created = await tus.ask("POST", "/v1/uploads", data, Content_Type=BODY_TYPE, **told)
    assert (created.status, created.headers["Upload-Offset"]) == (201, str(len(data)))
    url = created.headers["Location"]
    assert await tus.offset(url) == len(data)
    if len(data) < 6:
        await tus.patch(url, 3, b"def")
    assert await tus.stored() == b"abcdef"


# expiration


@must("expires patch", "expires post", "expires format")
async def test_the_expiry_is_told_and_moves_on(tus: Tus):
    created = await tus.ask(
        "POST", "/v1/uploads", Upload_Length="6", Upload_Metadata=metadata_of(FILMS)
    )
    ttl = timedelta(seconds=tus.service.runtime.settings.uploads.ttl_s)
    now = tus.service.metadata.clock.now
    expires = parse_http_date(created.headers["Upload-Expires"])
    assert expires is not None
    assert abs(expires - (now + ttl)) <= timedelta(seconds=1)
    tus.service.metadata.clock.advance(3600)
    done = await tus.patch(created.headers["Location"], 0, b"abc")
    later = parse_http_date(done.headers["Upload-Expires"])
    assert later is not None
    assert later - expires >= timedelta(seconds=3599)
    head = await tus.head(created.headers["Location"])
    assert parse_http_date(head.headers["Upload-Expires"]) == later
    tus.service.metadata.clock.advance(ttl.total_seconds() + 1)
    gone = await tus.patch(created.headers["Location"], 3, b"def")
    assert gone.status == 410


# checksum

ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
    "crc32c": lambda data: checksums.crc32c(data).to_bytes(4, "big"),
}


@must("verify", "discard", "sha1")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_body_is_what_its_checksum_says_or_nothing(tus: Tus, name: str):
    digest = ALGORITHMS[name]
    url = await tus.create(9)
    right = f"{name} {b64(digest(b'abc'))}"
    assert (await tus.patch(url, 0, b"abc", Upload_Checksum=right)).status == 204
    wrong = await tus.patch(url, 3, b"xyz", Upload_Checksum=right)
    assert wrong.status == 460
    assert wrong.reason is not None
    assert await tus.offset(url) == 3
    last = f"{name} {b64(digest(b'defghi'))}"
    assert (await tus.patch(url, 3, b"defghi", Upload_Checksum=last)).status == 204
    assert await tus.stored() == b"abcdefghi"


@must("checksum format", "discard")
@pytest.mark.parametrize(
    "told", ["crc32 " + b64(zlib.crc32(b"abc").to_bytes(4, "big")), "sha1", "sha1 !", "sha1 YWJj",
             "SHA1 " + b64(hashlib.sha1(b"abc").digest()), ""]
)  # fmt: skip
async def test_another_checksum_is_refused(tus: Tus, told: str):
    url = await tus.create(9)
    assert (await tus.patch(url, 0, b"abc", Upload_Checksum=told)).status == 400
    assert await tus.offset(url) == 0


# termination


@must("delete")
async def test_an_ended_upload_is_gone(tus: Tus):
    url = await tus.create(9)
    await tus.patch(url, 0, b"abc")
    assert (await tus.ask("DELETE", url)).status == 204
    for answer in (
        await tus.ask("HEAD", url),
        await tus.patch(url, 3, b"def"),
        await tus.ask("DELETE", url),
    ):
        assert answer.status == 410
        assert "Upload-Offset" not in answer.headers
    assert await tus.stored() is None


@must("delete")
async def test_ending_a_complete_upload_leaves_the_object(tus: Tus):
    url = await tus.create(3)
    await tus.patch(url, 0, b"abc")
    assert (await tus.ask("DELETE", url)).status == 204
    assert await tus.stored() == b"abc"


# concatenation


async def partial(tus: Tus, data: bytes) -> str:
    created = await tus.ask(
        "POST", "/v1/uploads", Upload_Length=str(len(data)), Upload_Concat="partial"
    )
    assert created.status == 201
    await tus.patch(created.headers["Location"], 0, data)
    return created.headers["Location"]


@must("final length", "final order", "final head", "partial head", "concat head", "403")
async def test_partial_uploads_become_one(tus: Tus):
    urls = [await partial(tus, data) for data in (b"hello", b" world")]
    for url, size in zip(urls, ("5", "6"), strict=True):
        head = await tus.head(url)
        assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (size, size)
        assert head.headers["Upload-Concat"] == "partial"
    told = f"final;{urls[0]} {urls[1].removeprefix(tus.service.url)}"
    created = await tus.ask(
        "POST", "/v1/uploads", Upload_Concat=told, Upload_Metadata=metadata_of(FILMS)
    )
    assert created.status == 201
    final = created.headers["Location"]
    head = await tus.head(final)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("11", "11")
    assert head.headers["Upload-Concat"] == told
    assert await tus.stored() == b"hello world"
    for offset in (0, 11):
        assert (await tus.patch(final, offset, b"x")).status == 403
    assert await tus.stored() == b"hello world"
    for url in urls:
        assert int((await tus.head(url)).headers["Upload-Offset"]) > 0
    other = metadata_of({"bucket": "films", "key": "turned"})
    turned = await tus.ask(
        "POST", "/v1/uploads", Upload_Metadata=other, Upload_Concat=f"final;{urls[1]} {urls[0]}"
    )
    assert turned.status == 201
    assert await tus.stored("turned") == b" worldhello"


@must("concat format", "unfinished")
async def test_what_cannot_be_joined_is_refused(tus: Tus):
    whole = await tus.create(3)
    unfinished = await tus.ask("POST", "/v1/uploads", Upload_Length="3", Upload_Concat="partial")
    place = metadata_of({"bucket": "films", "key": "joined"})
    for told, status in (
        ("final", 400),
        ("Partial", 400),
        ("final;", 400),
        ("final;/elsewhere/x", 400),
        ("final;/v1/uploads/none", 404),
        (f"final;{whole}", 400),
        (f"final;{unfinished.headers['Location']}", 400),
    ):
        answer = await tus.ask("POST", "/v1/uploads", Upload_Metadata=place, Upload_Concat=told)
        assert answer.status == status, told
    assert await tus.stored("joined") is None


async def test_partial_uploads_are_their_creators(tus: Tus):
    url = await partial(tus, b"hello")
    other = await tus.service.make_key(Scope.WRITE)
    for method in ("HEAD", "DELETE"):
        assert (await tus.ask(method, url, key=other)).status == 403
    taken = await tus.ask(
        "POST",
        "/v1/uploads",
        key=other,
        Upload_Concat=f"final;{url}",
        Upload_Metadata=metadata_of(FILMS),
    )
    assert taken.status == 404
    assert await tus.stored() is None


# around it


async def test_browsers_may_do_all_of_it(tus: Tus):
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,authorization",
    }
    url = await tus.create(3)
    path = url.removeprefix(tus.service.url)
    async with tus.service.fetch("OPTIONS", path, key=None, headers=preflight) as response:
        assert response.status == 204
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
        assert "upload-offset" in response.headers["Access-Control-Allow-Headers"]
    answer = await tus.ask("HEAD", url, Origin=ORIGIN)
    exposed = answer.headers["Access-Control-Expose-Headers"]
    for name in [
        "Location",
        "Tus-Extension",
        "Tus-Resumable",
        "Upload-Concat",
        "Upload-Defer-Length",
        "Upload-Expires",
        "Upload-Length",
        "Upload-Metadata",
        "Upload-Offset",
    ]:
        assert name in exposed


async def test_a_key_writes_where_it_may_write(tus: Tus):
    service = tus.service
    reader = await service.make_key(Scope.READ, Scope.LIST)
    elsewhere = await service.make_key(Scope.WRITE, buckets=("other",))
    prefixed = await service.make_key(Scope.WRITE, prefixes=("b/",))
    writer = await service.make_key(Scope.WRITE)
    told = {"Upload_Length": "3", "Upload_Metadata": metadata_of(FILMS)}
    url = await tus.create(3)
    for key in (reader, elsewhere, prefixed):
        assert (await tus.ask("POST", "/v1/uploads", key=key, **told)).status == 403
        for method in ("HEAD", "DELETE"):
            assert (await tus.ask(method, url, key=key)).status == 403
        assert (
            await tus.ask("PATCH", url, b"abc", key=key, Upload_Offset="0", Content_Type=BODY_TYPE)
        ).status == 403
    done = await tus.ask(
        "PATCH", url, b"abc", key=writer, Upload_Offset="0", Content_Type=BODY_TYPE
    )
    assert done.status == 204


async def test_one_lists_ones_own_unfinished_uploads(tus: Tus):
    urls = [await tus.create(5, {"bucket": "films", "key": f"k{n}"}) for n in range(3)]
    await tus.patch(urls[1], 0, b"ab")
    done = await tus.create(1, {"bucket": "films", "key": "done"})
    await tus.patch(done, 0, b"x")
    async with tus.service.fetch("GET", "/v1/uploads?limit=2") as response:
        page = await response.json()
    assert [item["url"] for item in page["items"]] == urls[:2]
    assert [item["offset"] for item in page["items"]] == [0, 2]
    assert page["items"][0]["length_bytes"] == 5
    async with tus.service.fetch("GET", f"/v1/uploads?cursor={page['next']}") as response:
        page = await response.json()
    assert ([item["url"] for item in page["items"]], page["next"]) == (urls[2:], None)
    other = await tus.service.make_key(Scope.WRITE)
    async with tus.service.fetch("GET", "/v1/uploads", key=other) as response:
        assert (await response.json())["items"] == []
    async with tus.service.fetch("GET", urls[1].removeprefix(tus.service.url)) as response:
        assert (await response.json())["offset"] == 2
        assert response.headers["Upload-Offset"] == "2"


async def test_a_repeated_creation_with_an_idempotency_key_is_the_same_upload(tus: Tus):
    told = {"Upload_Length": "3", "Upload_Metadata": metadata_of(FILMS), "Idempotency_Key": "once"}
    first = await tus.ask("POST", "/v1/uploads", **told)
    again = await tus.ask("POST", "/v1/uploads", **told)
    assert first.headers["Location"] == again.headers["Location"]
    other = await tus.ask("POST", "/v1/uploads", **told | {"Upload_Length": "4"})
    assert other.status == 422


async def test_a_lost_connection_keeps_what_came(tus: Tus):
    data = bytes(range(256)) * 40_000
    url = await tus.create(len(data))
    path = url.removeprefix(tus.service.url)
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mg_root_for_the_tests\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: {len(data)}\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", tus.service.port)
    writer.write(head.encode() + data[:7_000_000])
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    offset = await tus.offset(url)
    assert 6_000_000 < offset <= 7_000_000
    await tus.patch(url, offset, data[offset:])
    assert await tus.stored() == data


async def test_expect_continue_is_said_only_when_bytes_are_wanted(tus: Tus):
    url = await tus.create(3)
    path = url.removeprefix(tus.service.url)
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mg_root_for_the_tests\r\n"
        "Tus-Resumable: 1.0.0\r\nUpload-Offset: 1\r\nContent-Length: 3\r\n"
        "Expect: 100-continue\r\nContent-Type: application/offset+octet-stream\r\n\r\n"
    )
    answer = await exchange(tus.service.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 409 ")


def test_every_must_is_held_by_a_test():
    assert set(MUSTS) - HELD == set()
