"""The browser's form over a real socket."""

from __future__ import annotations

from io import BytesIO

import pytest
from aiohttp import FormData

from service.model.api_key import Scope
from service.settings import MIB, Limits
from tests.web.serving import ROOT_KEY, Service, Start, exchange

FORM = "/v1/buckets/films/objects"


async def read(service: Service, key: str) -> bytes:
    async with service.fetch("GET", f"{FORM}/{key}") as response:
        assert response.status == 200
        return await response.read()


async def test_several_files_under_a_prefix(service: Service, bucket: str) -> None:
    big = bytes(range(256)) * (11 * MIB // 256)
    form = FormData()
    form.add_field("prefix", "2026/")
    form.add_field("x-meta-album", "holiday")
    form.add_field("file", BytesIO(b"one"), filename="one.txt", content_type="text/plain")
    form.add_field("file", BytesIO(big), filename="two.bin")
    async with service.fetch("POST", FORM, data=form) as response:
        assert response.status == 201
        items = (await response.json())["items"]
    assert [item["key"] for item in items] == ["2026/one.txt", "2026/two.bin"]
    assert items[0]["content_type"] == "text/plain"
    assert items[0]["user_metadata"] == {"album": "holiday"}
    assert await read(service, "2026/one.txt") == b"one"
    assert await read(service, "2026/two.bin") == big


async def test_key_names_one_file_and_empty_files_are_files(service: Service, bucket: str) -> None:
    form = FormData()
    form.add_field("key", "chosen")
    form.add_field("file", BytesIO(b""), filename="x.txt")
    async with service.fetch("POST", FORM, data=form) as response:
        assert response.status == 201
    assert await read(service, "chosen") == b""


async def test_file_with_a_path_for_a_name_loses_the_path(service: Service, bucket: str) -> None:
    form = FormData(quote_fields=False)
    form.add_field("file", BytesIO(b"x"), filename="..\\..\\etc/passwd")
    async with service.fetch("POST", FORM, data=form) as response:
        assert (await response.json())["items"][0]["key"] == "passwd"


async def test_failure_tells_what_was_stored_before(service: Service, bucket: str) -> None:
    form = FormData()
    form.add_field("file", BytesIO(b"x"), filename="good")
    form.add_field("nonsense", "x")
    async with service.fetch("POST", FORM, data=form) as response:
        problem = await response.json()
        assert response.status == 400
    assert [item["key"] for item in problem["stored"]] == ["good"]
    assert await read(service, "good") == b"x"


async def test_form_without_a_file_is_refused(service: Service, bucket: str) -> None:
    async with service.fetch(
        "POST", FORM, data=FormData({"key": "x"}, default_to_multipart=True)
    ) as response:
        assert response.status == 400


async def test_key_with_a_prefix_cannot_write_elsewhere(service: Service, bucket: str) -> None:
    key = await service.make_key(Scope.WRITE, prefixes=("mine/",))
    form = FormData()
    form.add_field("file", BytesIO(b"x"), filename="theirs")
    async with service.fetch("POST", FORM, data=form, key=key) as response:
        assert response.status == 403


async def test_too_many_files_and_too_long_fields_are_refused(start: Start) -> None:
    limits = Limits(byte_budget_bytes=32 * MIB, max_form_files=1, max_form_field_bytes=10)
    async with start(limits=limits) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        two = FormData()
        two.add_field("file", BytesIO(b"x"), filename="a")
        two.add_field("file", BytesIO(b"x"), filename="b")
        long = FormData()
        long.add_field("prefix", "x" * 11)
        long.add_field("file", BytesIO(b"x"), filename="a")
        for form in (two, long):
            async with service.fetch("POST", FORM, data=form) as response:
                assert response.status == 413


PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        PART + b"cut off",
        PART + b"cut off\r\n--b",
        PART + b"cut off\r\n--bb\r\n",
        b"no boundary at all",
        b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n",
        PART[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\n",
        PART[:-2] + b"Content-Length: 100\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b--\r\n",
    ],
)
async def test_malformed_form_makes_nothing_visible(
    service: Service, bucket: str, body: bytes
) -> None:
    head = (
        f"POST {FORM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ROOT_KEY}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    told = await exchange(service.port, head.encode() + body)
    assert told.startswith(b"HTTP/1.1 400"), told
    await service.runtime.tasks.drain(5)
    assert not service.metadata.versions.versions
    assert not service.blobs.blobs


async def test_another_content_type_is_415(service: Service, bucket: str) -> None:
    async with service.fetch("POST", FORM, json={}) as response:
        assert response.status == 415


async def test_input_in_which_nothing_was_chosen_is_no_file(service: Service, bucket: str) -> None:
    nothing = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = nothing + PART + b"x\r\n--b--\r\n"
    async with service.fetch("POST", FORM, data=body, headers=headers) as response:
        assert [item["key"] for item in (await response.json())["items"]] == ["a"]
    body = nothing.replace(b"\r\n\r\n\r\n", b"\r\n\r\nbytes\r\n") + b"--b--\r\n"
    async with service.fetch("POST", FORM, data=body, headers=headers) as response:
        assert response.status == 400


async def test_field_may_be_called_filename(service: Service, bucket: str) -> None:
    form = FormData({"filename": "x"}, default_to_multipart=True)
    async with service.fetch("POST", FORM, data=form) as response:
        assert "no field" in (await response.json())["detail"]


async def test_retry_goes_on_where_the_first_failed(service: Service, bucket: str) -> None:
    def form(second: str) -> FormData:
        form = FormData()
        for name in ("one", second, "three"):
            form.add_field("file", BytesIO(name.encode()), filename=name)
        return form

    headers = {"Idempotency-Key": "k", "If-None-Match": "*"}
    async with service.fetch("PUT", f"{FORM}/taken", data=b"before"):
        pass
    async with service.fetch("POST", FORM, data=form("taken"), headers=headers) as response:
        told = await response.json()
        assert response.status == 412
    assert [item["key"] for item in told["stored"]] == ["one"]
    assert told["failed"] == {"ordinal": 1, "filename": "taken"}
    assert await read(service, "taken") == b"before"
    async with service.fetch("DELETE", f"{FORM}/taken"):
        pass
    async with service.fetch("POST", FORM, data=form("taken"), headers=headers) as response:
        items = (await response.json())["items"]
        assert response.status == 201
    assert [item["key"] for item in items] == ["one", "taken", "three"]
    assert items[0] == told["stored"][0]


async def test_digest_of_a_whole_form_is_refused(service: Service, bucket: str) -> None:
    form = FormData()
    form.add_field("file", BytesIO(b"x"), filename="a")
    headers = {"Content-Digest": "sha-256=:" + "A" * 43 + "=:"}
    async with service.fetch("POST", FORM, data=form, headers=headers) as response:
        assert response.status == 400


async def test_endless_epilogue_is_refused(service: Service, bucket: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = PART + b"x\r\n--b--\r\n" + b"y" * (2 * MIB)
    async with service.fetch("POST", FORM, data=BytesIO(body), headers=headers) as response:
        assert response.status == 413
