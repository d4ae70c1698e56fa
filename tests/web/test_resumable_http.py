"""Resumable Uploads for HTTP (the IETF's draft, interop version 8), and its mixture with tus."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.web.serving import ROOT_KEY, Service
from tests.web.tus_client import Tus, b64

OBJECT = "/v1/buckets/films/objects/a/b.mp4"
PATCH_TYPE = "application/partial-upload"


class Draft:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(
        self, method: str, url: str, data: bytes | None = None, **headers: str
    ) -> ClientResponse:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        asked: dict[str, Any] = {"headers": told}
        if data is not None:
            asked["data"] = io.BytesIO(data)
        path = url.removeprefix(self.service.url)
        async with self.service.fetch(method, path, **asked) as response:
            await response.read()
            return response

    async def create(self, data: bytes = b"", complete: str = "?0", **headers: str) -> str:
        answer = await self.ask("PUT", OBJECT, data, Upload_Complete=complete, **headers)
        assert answer.status == 201
        assert answer.headers["Upload-Complete"] == complete
        return answer.headers["Location"]

    async def patch(
        self, url: str, offset: int, data: bytes, complete: str, **headers: str
    ) -> ClientResponse:
        told = {"Content_Type": PATCH_TYPE, "Upload_Complete": complete}
        return await self.ask("PATCH", url, data, Upload_Offset=str(offset), **(told | headers))

    async def head(self, url: str) -> ClientResponse:
        answer = await self.ask("HEAD", url)
        assert answer.status == 204
        assert answer.headers["Cache-Control"] == "no-store"
        assert "max-size=" in answer.headers["Upload-Limit"]
        return answer

    async def stored(self) -> bytes | None:
        async with self.service.fetch("GET", OBJECT) as response:
            return await response.read() if response.status == 200 else None


@pytest.fixture
def draft(service: Service, bucket: str) -> Draft:
    return Draft(service)


async def test_all_in_one_request_is_answered_as_a_put(draft: Draft):
    answer = await draft.ask(
        "PUT", OBJECT, b"abc", Upload_Complete="?1", Content_Type="video/mp4", X_Meta_Camera="x1"
    )
    assert answer.status == 201
    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.headers["Location"].endswith(OBJECT)
    facts = await answer.json()
    assert (facts["content_type"], facts["user_metadata"]) == ("video/mp4", {"camera": "x1"})
    assert await draft.stored() == b"abc"
    again = await draft.ask("PUT", OBJECT, b"abcd", Upload_Complete="?1")
    assert again.status == 200
    assert await draft.stored() == b"abcd"


async def test_an_upload_in_parts(draft: Draft):
    url = await draft.create(b"abc")
    assert "/v1/uploads/" in url
    head = await draft.head(url)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Complete"]) == ("3", "?0")
    assert "Upload-Length" not in head.headers
    answer = await draft.patch(url, 3, b"def", "?0")
    assert (answer.status, answer.headers["Upload-Complete"]) == (204, "?0")
    assert answer.headers["Upload-Offset"] == "6"
    assert await draft.stored() is None
    answer = await draft.patch(url, 6, b"ghi", "?1")
    assert (answer.status, answer.headers["Upload-Complete"]) == (201, "?1")
    assert (await answer.json())["size_bytes"] == 9
    assert await draft.stored() == b"abcdefghi"
    head = await draft.head(url)
    assert head.headers["Upload-Complete"] == "?1"
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "9"


async def test_the_length_alone_does_not_complete_an_upload(draft: Draft):
    url = await draft.create(b"abc", Upload_Length="3")
    head = await draft.head(url)
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "3"
    assert head.headers["Upload-Complete"] == "?0"
    assert await draft.stored() is None
    answer = await draft.patch(url, 3, b"", "?1")
    assert (answer.status, answer.headers["Upload-Complete"]) == (201, "?1")
    assert await draft.stored() == b"abc"


async def test_the_last_answer_is_told_again(draft: Draft):
    url = await draft.create(b"abc")
    first = await draft.patch(url, 3, b"d", "?1")
    again = await draft.patch(url, 4, b"", "?1")
    assert (again.status, await again.json()) == (first.status, await first.json())
    more = await draft.patch(url, 4, b"e", "?1")
    assert (more.status, more.headers["Upload-Complete"]) == (409, "?0")
    assert await draft.stored() == b"abcd"


async def test_another_offset_is_a_conflict_that_tells_the_right_one(draft: Draft):
    url = await draft.create(b"abc")
    for offset in (0, 2, 4):
        answer = await draft.patch(url, offset, b"d", "?1")
        assert answer.status == 409
        assert (answer.headers["Upload-Offset"], answer.headers["Upload-Complete"]) == ("3", "?0")


async def test_lengths_must_agree(draft: Draft):
    wrong = await draft.ask("PUT", OBJECT, b"abc", Upload_Complete="?1", Upload_Length="4")
    assert wrong.status == 400
    url = await draft.create(b"abc", Upload_Length="6")
    assert (await draft.patch(url, 3, b"d", "?1")).status == 400
    assert (await draft.patch(url, 3, b"d", "?0", Upload_Length="7")).status == 400
    assert (await draft.patch(url, 3, b"def", "?1")).status == 201
    assert await draft.stored() == b"abcdef"


async def test_more_than_the_length_ends_the_upload(draft: Draft):
    url = await draft.create(b"abc", Upload_Length="6")
    assert (await draft.patch(url, 3, b"defg", "?0")).status == 413
    assert (await draft.ask("HEAD", url)).status == 410


@pytest.mark.parametrize("complete", ["1", "?2", "true", "", '"?1"', "?0, ?1"])
async def test_a_malformed_completeness_is_none(draft: Draft, complete: str):
    assert (await draft.ask("PUT", OBJECT, b"abc", Upload_Complete=complete)).status == 400
    url = await draft.create(b"abc")
    assert (await draft.patch(url, 3, b"d", complete)).status == 400
    assert (await draft.head(url)).headers["Upload-Offset"] == "3"


async def test_a_patch_of_another_type_is_refused(draft: Draft):
    url = await draft.create(b"abc")
    answer = await draft.patch(url, 3, b"d", "?1", Content_Type="application/octet-stream")
    assert answer.status == 415


async def test_an_upload_is_cancelled(draft: Draft):
    url = await draft.create(b"abc")
    assert (await draft.ask("DELETE", url)).status == 204
    assert (await draft.ask("HEAD", url)).status == 410


async def test_digests_of_the_content_and_of_the_whole(draft: Draft):
    def field(data: bytes) -> str:
        return f"sha-256=:{b64(hashlib.sha256(data).digest())}:"

    url = await draft.create(b"abc", Repr_Digest=field(b"abcdef"))
    wrong = await draft.patch(url, 3, b"xyz", "?0", Content_Digest=field(b"abc"))
    assert (wrong.status, wrong.headers["Upload-Complete"]) == (400, "?0")
    assert (await draft.head(url)).headers["Upload-Offset"] == "3"
    done = await draft.patch(url, 3, b"def", "?1", Content_Digest=field(b"def"))
    assert done.status == 201
    assert field(b"abcdef") in done.headers["Repr-Digest"]
    other = await draft.create(b"abc", Repr_Digest=field(b"abcdef"))
    failed = await draft.patch(other, 3, b"xyz", "?1")
    assert (failed.status, failed.headers["Upload-Complete"]) == (400, "?1")
    assert await draft.stored() == b"abcdef"


async def test_a_precondition_that_fails_at_the_end_is_the_objects_answer(draft: Draft):
    url = await draft.create(b"abc", If_None_Match="*")
    assert (await draft.ask("PUT", OBJECT, b"other", Upload_Complete="?1")).status == 201
    answer = await draft.patch(url, 3, b"d", "?1")
    assert (answer.status, answer.headers["Upload-Complete"]) == (412, "?1")
    assert await draft.stored() == b"other"


async def test_options_tell_the_limits(draft: Draft):
    for path in ("/v1/uploads", OBJECT):
        answer = await draft.ask("OPTIONS", path)
        assert answer.status == 204
        assert answer.headers["Upload-Limit"].startswith("max-size=")


async def test_a_post_names_its_place_in_the_query(draft: Draft):
    answer = await draft.ask(
        "POST", "/v1/uploads?bucket=films&key=a/b.mp4", b"abc", Upload_Complete="?1"
    )
    assert answer.status == 201
    assert await draft.stored() == b"abc"
    assert (await draft.ask("POST", "/v1/uploads", b"x", Upload_Complete="?1")).status == 400


# interim responses


async def raw(service: Service, head: str, body: bytes, *, until: bytes) -> tuple[bytes, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    lines = f"{head}\r\nHost: films.example\r\nAuthorization: Bearer {ROOT_KEY}\r\n\r\n"
    writer.write(lines.encode() + body)
    return await asyncio.wait_for(reader.readuntil(until), 5), writer


async def test_a_client_that_asks_for_it_is_told_the_url_before_its_body(draft: Draft):
    data = bytes(6_000_000)
    head = (
        f"PUT {OBJECT} HTTP/1.1\r\nUpload-Complete: ?1\r\nContent-Length: {len(data)}\r\n"
        "Upload-Draft-Interop-Version: 8"
    )
    early, writer = await raw(draft.service, head, b"", until=b"\r\n\r\n")
    lines = early.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 104 Upload Resumption Supported"
    fields = dict(line.split(": ", 1) for line in lines[1:] if line)
    assert fields["Upload-Draft-Interop-Version"] == "8"
    assert "max-size=" in fields["Upload-Limit"]
    writer.write(data[:5_500_000])
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    url = fields["Location"].replace("http://films.example", draft.service.url)
    offset = int((await draft.head(url)).headers["Upload-Offset"])
    assert 4_000_000 < offset <= 5_500_000
    done = await draft.patch(url, offset, data[offset:], "?1")
    assert done.status == 201
    assert await draft.stored() == data


@pytest.mark.parametrize("version", ["", "Upload-Draft-Interop-Version: 7\r\n"])
async def test_nobody_else_gets_an_interim_response(draft: Draft, version: str):
    head = f"PUT {OBJECT} HTTP/1.1\r\n{version}Upload-Complete: ?1\r\nContent-Length: 3"
    answer, writer = await raw(draft.service, head, b"abc", until=b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_continue_is_said_besides(draft: Draft):
    head = (
        f"PUT {OBJECT} HTTP/1.1\r\nUpload-Complete: ?1\r\nContent-Length: 3\r\n"
        "Upload-Draft-Interop-Version: 8\r\nExpect: 100-continue"
    )
    answer, writer = await raw(draft.service, head, b"", until=b"100 Continue\r\n\r\n")
    assert b"104 Upload Resumption Supported" in answer
    writer.close()


# both protocols, one upload


async def test_what_tus_began_the_draft_may_finish_and_the_other_way_round(draft: Draft):
    tus = Tus(draft.service)
    url = await tus.create(6)
    await tus.patch(url, 0, b"abc")
    assert (await draft.head(url)).headers["Upload-Offset"] == "3"
    done = await draft.patch(url, 3, b"def", "?1")
    assert done.status == 201
    assert await tus.offset(url) == 6
    assert await draft.stored() == b"abcdef"
    url = await draft.create(b"gh", Upload_Length="4")
    assert await tus.offset(url) == 2
    assert (await tus.patch(url, 2, b"ij")).status == 204
    assert (await draft.head(url)).headers["Upload-Complete"] == "?1"
    assert await draft.stored() == b"ghij"


async def test_tus_closes_what_has_its_length(draft: Draft):
    tus = Tus(draft.service)
    url = await draft.create(b"abc", Upload_Length="3")
    assert await draft.stored() is None
    assert await tus.offset(url) == 3
    assert await draft.stored() == b"abc"
