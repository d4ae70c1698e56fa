"""Archives that are unpacked on their way in, over a real socket."""

from __future__ import annotations

import asyncio
import io
import stat
import tarfile
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.model.api_key import Scope
from service.settings import MIB, Limits
from tests.web.serving import ROOT_KEY, Service, Start, make_settings, running

OBJECTS = "/v1/buckets/films/objects"
FILES = {
    "a.txt": b"alpha",
    "clips/één.mp4": b"\0\1\2" * 100_000,
    "clips/empty": b"",
    "映画.json": b"{}",
}
Files = dict[str, bytes]


def zipped(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.mkdir("clips")
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: Files, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("./clips")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


ARCHIVES = {
    "zip": zipped(FILES),
    "zip of stored members": zipped(FILES, zipfile.ZIP_STORED),
    "zip of bzip2 members": zipped(FILES, zipfile.ZIP_BZIP2),
    "tar": tarred(FILES),
    "tar.gz": tarred(FILES, "w:gz"),
}


async def expand(
    service: Service, archive: bytes, query: str, **kwargs: Any
) -> tuple[int, dict[str, Any]]:
    async with service.fetch(
        "POST", f"{OBJECTS}?{query}", data=io.BytesIO(archive), **kwargs
    ) as response:
        return response.status, await response.json()


async def keys(service: Service) -> list[str]:
    async with service.fetch("GET", OBJECTS) as response:
        return [item["key"] for item in (await response.json())["items"]]


async def settle(service: Service) -> None:
    await service.runtime.tasks.drain(5)


@pytest.mark.parametrize("atomic", ["true", "false"])
@pytest.mark.parametrize("name", ARCHIVES)
async def test_each_file_becomes_an_object(
    service: Service, bucket: str, name: str, atomic: str
) -> None:
    format = name.split()[0]
    status, told = await expand(
        service,
        ARCHIVES[name],
        f"expand={format}&prefix=in/&atomic={atomic}",
        headers={"X-Meta-Album": "holiday", "X-Tags": "year=2026"},
    )
    assert status == 201, told
    assert (told["created"], told["failed"]) == (len(FILES), 0)
    assert [item["key"] for item in told["items"]] == [f"in/{key}" for key in FILES]
    assert told["items"][1]["content_type"] == "video/mp4"
    assert told["items"][0]["sniffed_type"] == "text/plain"
    for key, content in FILES.items():
        async with service.fetch("GET", f"{OBJECTS}/in/{key}") as response:
            assert await response.read() == content
            assert response.headers["X-Meta-Album"] == "holiday"
            assert response.headers["X-Tags"] == "year=2026"


async def test_names_that_were_there_are_overwritten(service: Service, bucket: str) -> None:
    assert (await expand(service, ARCHIVES["zip"], "expand=zip"))[0] == 201
    assert (await expand(service, ARCHIVES["zip"], "expand=zip"))[0] == 200
    status, told = await expand(
        service, ARCHIVES["zip"], "expand=zip", headers={"If-None-Match": "*"}
    )
    assert (status, told["code"]) == (412, "precondition_failed")


BAD_NAMES = ["/abs", "../up", "a/../b", "C:/x", "a\\b", "a//b", "x" * 1025, "."]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_one_bad_name_refuses_all_or_itself(service: Service, bucket: str, name: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for each in ("good", name, "better"):
            archive.addfile(tarfile.TarInfo(each))
    whole = out.getvalue()
    status, told = await expand(service, whole, "expand=tar")
    assert (status, told["code"]) == (400, "invalid_key")
    assert await keys(service) == []
    status, told = await expand(service, whole, "expand=tar&atomic=false")
    assert (status, told["created"], told["failed"]) == (207, 2, 1)
    assert told["items"][1]["problem"]["code"] == "invalid_key"
    assert await keys(service) == ["better", "good"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
async def test_links_and_devices_are_refused(service: Service, bucket: str, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo("file"))
    assert (await expand(service, out.getvalue(), "expand=tar"))[0] == 400
    status, told = await expand(service, out.getvalue(), "expand=tar&atomic=false")
    assert (status, told["failed"]) == (207, 1)
    assert "link" in told["items"][0]["problem"]["detail"] or kind == tarfile.FIFOTYPE
    assert await keys(service) == ["file"]


async def test_link_in_a_zip_refuses_all(service: Service, bucket: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("file", b"x")
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    status, told = await expand(service, out.getvalue(), "expand=zip")
    assert (status, told["entry"]) == (400, "link")
    assert await keys(service) == []


async def test_name_given_twice(service: Service, bucket: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("same"))
    assert (await expand(service, out.getvalue(), "expand=tar"))[0] == 400
    status, told = await expand(service, out.getvalue(), "expand=tar&atomic=false")
    assert (status, told["created"], told["failed"]) == (207, 1, 1)


async def test_old_zip_names_are_code_page_437(service: Service, bucket: str) -> None:
    whole = zipped({"cafe.txt": b"x"}).replace(b"cafe", b"caf\x82")
    assert (await expand(service, whole, "expand=zip"))[0] == 201
    assert await keys(service) == ["café.txt"]


@pytest.mark.parametrize("cut", [10, 100, 300, -30, -1])
@pytest.mark.parametrize("format", ["zip", "tar.gz"])
async def test_archive_that_breaks_off_leaves_nothing(
    service: Service, bucket: str, format: str, cut: int
) -> None:
    status, told = await expand(service, ARCHIVES[format][:cut], f"expand={format}")
    assert (status, told["code"]) == (400, "invalid")
    assert await keys(service) == []
    await settle(service)
    assert not service.blobs.blobs
    assert not service.blobs.multiparts


@pytest.mark.parametrize("cut", [100, 700, 1600, -10240])
async def test_tar_that_breaks_off_leaves_nothing(service: Service, bucket: str, cut: int) -> None:
    files = {"a": b"x" * 600, "b": b"y" * 600}
    whole = tarred(files)
    whole = whole[: whole.rindex(b"y") + 1] if cut == -10240 else whole[:cut]
    status, _ = await expand(service, whole, "expand=tar")
    assert status == 400
    assert await keys(service) == []


@pytest.mark.parametrize("format", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("whole", [b"", b"not an archive at all" * 100])
async def test_what_is_no_archive_is_refused(
    service: Service, bucket: str, format: str, whole: bytes
) -> None:
    assert (await expand(service, whole, f"expand={format}"))[0] == 400


async def test_damaged_member_is_found(service: Service, bucket: str) -> None:
    whole = zipped({"a": b"hello, world"}, zipfile.ZIP_STORED).replace(b"hello", b"jello")
    assert (await expand(service, whole, "expand=zip"))[0] == 400
    assert await keys(service) == []


async def test_encrypted_zip_is_refused(service: Service, bucket: str) -> None:
    whole = bytearray(zipped({"a": b"x"}))
    at = whole.index(b"PK\x03\x04", 10)
    whole[at + 6] |= 1
    status, told = await expand(service, bytes(whole), "expand=zip")
    assert status == 400
    assert "encrypted" in told["detail"]


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("expand=rar", {}, 400),
        ("atomic=false", {}, 400),
        ("prefix=x", {}, 400),
        ("expand=zip&atomic=yes", {}, 400),
        ("expand=zip&prefix=%00", {}, 400),
        ("expand=zip", {"Idempotency-Key": "x"}, 400),
        ("expand=zip", {"Content-Encoding": "gzip"}, 400),
        ("expand=zip", {"Content-MD5": "x"}, 400),
        ("expand=zip", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
async def test_what_does_not_go_together_is_refused(
    service: Service, bucket: str, query: str, headers: dict[str, str], status: int
) -> None:
    assert (await expand(service, ARCHIVES["zip"], query, headers=headers))[0] == status


async def test_missing_bucket_is_told_before_the_body(service: Service) -> None:
    assert (await expand(service, b"", "expand=zip"))[0] == 404


async def test_key_with_a_prefix_writes_nowhere_else(service: Service, bucket: str) -> None:
    key = await service.make_key(Scope.WRITE, prefixes=("mine/",))
    assert (await expand(service, ARCHIVES["zip"], "expand=zip", key=key))[0] == 403
    status, _ = await expand(service, ARCHIVES["zip"], "expand=zip&prefix=mine/", key=key)
    assert status == 201


def capped(**caps: int) -> Limits:
    return Limits(byte_budget_bytes=32 * MIB, **caps)


BOMB = {"first": b"x", "bomb": bytes(40 * MIB)}


@pytest.mark.parametrize("format", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "limits",
    [
        capped(),
        capped(max_archive_bytes=10 * MIB, max_archive_ratio=10_000),
        capped(max_archive_entries=1),
        capped(max_atomic_entries=1),
    ],
)
async def test_bomb_leaves_nothing(start: Start, format: str, limits: Limits) -> None:
    whole = zipped(BOMB) if format == "zip" else tarred(BOMB, "w:gz")
    assert len(whole) < MIB
    async with start(limits=limits) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        status, told = await expand(service, whole, f"expand={format}")
        assert (status, told["code"]) == (413, "too_large"), told
        assert await keys(service) == []
        await settle(service)
        assert not service.blobs.blobs
        assert not service.blobs.multiparts


async def test_each_by_itself_keeps_what_came_before_a_bomb(service: Service, bucket: str) -> None:
    status, told = await expand(service, zipped(BOMB), "expand=zip&atomic=false")
    assert (status, [item["key"] for item in told["items"]]) == (413, ["first"])
    assert await keys(service) == ["first"]


async def test_bucket_rules_hold_for_each_entry(service: Service) -> None:
    rules = {"allowed_content_types": ["text/*"], "max_object_size_bytes": 100}
    async with service.fetch("PUT", "/v1/buckets/films", json=rules) as response:
        assert response.status == 201
    files = {"a.txt": b"fine", "b.png": b"\x89PNG\r\n\x1a\n", "c.txt": b"x" * 101}
    assert (await expand(service, zipped(files), "expand=zip"))[0] == 415
    status, told = await expand(service, zipped(files), "expand=zip&atomic=false")
    assert status == 207
    problems = [item.get("problem", {}).get("status") for item in told["items"]]
    assert problems == [None, 415, 413]


async def test_client_that_goes_away_leaves_nothing(service: Service, bucket: str) -> None:
    whole = zipped({"a": b"x", "b": bytes(range(256)) * 4000}, zipfile.ZIP_STORED)
    head = (
        f"POST {OBJECTS}?expand=zip HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ROOT_KEY}\r\n"
        f"Content-Length: {len(whole)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head.encode() + whole[:500_000])
    await writer.drain()
    async with asyncio.timeout(5):
        while not service.metadata.uploads.uploads:
            await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(5):
        while any(u.state != "undone" for u in service.metadata.uploads.uploads.values()):
            await asyncio.sleep(0.01)
    assert await keys(service) == []
    assert not service.blobs.blobs
    assert service.runtime.budget.used_bytes == 0


async def test_archive_comes_in_as_it_went_out(service: Service, bucket: str) -> None:
    await expand(service, ARCHIVES["tar"], "expand=tar&prefix=x/")
    for format in ("zip", "tar"):
        path = f"/v1/buckets/films/archive?prefix=x/&format={format}"
        async with service.fetch("GET", path) as response:
            whole = await response.read()
        status, told = await expand(service, whole, f"expand={format}&prefix={format}/")
        assert (status, told["created"]) == (201, len(FILES)), told
        for key, content in FILES.items():
            async with service.fetch("GET", f"{OBJECTS}/{format}/{key}") as response:
                assert await response.read() == content


async def test_large_entry_goes_in_parts() -> None:
    files = {"big": bytes(range(256)) * (20 * MIB // 256), "small": b"x"}
    async with running(make_settings()) as service:
        async with service.fetch("PUT", "/v1/buckets/films"):
            pass
        whole = zipped(files, zipfile.ZIP_STORED)

        async def slices() -> AsyncIterator[bytes]:
            for at in range(0, len(whole), 100_000):
                yield whole[at : at + 100_000]

        async with service.fetch("POST", f"{OBJECTS}?expand=zip", data=slices()) as response:
            assert response.status == 201, await response.text()
        async with service.fetch("GET", f"{OBJECTS}/big") as response:
            assert await response.read() == files["big"]
