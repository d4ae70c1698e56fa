"""What happens behind the service's back is found, counted and told; what is in flight is not.

MEDIAGATE_TEST_DRIFT_OBJECTS: how many objects are removed, and how many strays added.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, Installation, eventually

OBJECTS = int(os.environ.get("MEDIAGATE_TEST_DRIFT_OBJECTS", "100"))
CHANGED, UNTOUCHED, UPLOADS = OBJECTS // 10, OBJECTS // 2, 20
MIB = 1 << 20
BUCKET = "/v1/buckets/drift"
TIMEOUT_S = 90 + OBJECTS / 2
NOW = {"AUDIT__GRACE_S": 0}
"""Without a grace: only the ledger tells what is in flight."""

pytestmark = pytest.mark.timeout(TIMEOUT_S)


@pytest.fixture
def alone(make_installation: Callable[[], Installation]) -> Installation:
    return make_installation()


async def put(http: ClientSession, key: str, data: Any) -> None:
    async with http.put(f"{BUCKET}/objects/{key}", data=data) as response:
        assert response.status in (200, 201), await response.text()


async def put_all(http: ClientSession, count: int) -> None:
    gate = asyncio.Semaphore(16)

    async def one(number: int) -> None:
        async with gate:
            await put(http, f"file/{number}", f"content of {number}".encode())

    async with http.put(BUCKET) as response:
        assert response.status == 201
    await asyncio.gather(*(one(number) for number in range(count)))


class RunningUploads:
    """Half of them with a multipart under way, half with a few bytes; and objects that are stored,
    overwritten and deleted all the time."""

    def __init__(self, http: ClientSession) -> None:
        self._http = http
        self._end = asyncio.Event()
        self._going_on = 0

    async def __aenter__(self) -> None:
        uploads = [put(self._http, f"slow/{n}", self._body(9 * MIB)) for n in range(UPLOADS // 2)]
        uploads += [put(self._http, f"slow/s{n}", self._body(1000)) for n in range(UPLOADS // 2)]
        self._tasks = [asyncio.create_task(upload) for upload in uploads]
        self._tasks += [asyncio.create_task(self._churn(number)) for number in range(3)]
        await eventually(lambda: self._going_on == UPLOADS, within_s=30)

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await asyncio.gather(*self._tasks)

    async def _body(self, size_bytes: int) -> AsyncIterator[bytes]:
        for start in range(0, size_bytes, MIB):
            yield bytes(min(MIB, size_bytes - start))
        self._going_on += 1
        while not self._end.is_set():
            await asyncio.sleep(0.3)
            yield b"more"

    async def _churn(self, number: int) -> None:
        while not self._end.is_set():
            await put(self._http, f"churn/{number}", secrets.token_bytes(2000))
            await put(self._http, f"churn/{number}", secrets.token_bytes(3000))
            async with self._http.delete(f"{BUCKET}/objects/churn/{number}") as response:
                assert response.status == 204


class Vandal:
    """Removes, adds and changes things in the store itself."""

    def __init__(self, alone: Installation, s3: Any) -> None:
        self._s3 = s3
        self._bucket = {"Bucket": alone.s3_bucket}

    async def remove(self, keys: list[str]) -> None:
        await asyncio.gather(*(self._s3.delete_object(**self._bucket, Key=key) for key in keys))

    async def write(self, keys: list[str], data: bytes) -> None:
        await asyncio.gather(
            *(self._s3.put_object(**self._bucket, Key=key, Body=data) for key in keys)
        )

    async def open_multipart(self, key: str) -> None:
        at = {**self._bucket, "Key": key}
        upload = (await self._s3.create_multipart_upload(**at))["UploadId"]
        await self._s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"x" * 100)


def audit(alone: Installation, *options: str, **settings: object) -> Any:
    """What `mediagate audit` tells: the blob keys of each kind, and its report."""
    done = alone.run(
        *("audit", "--once", "--json", *options),
        exit_code=1,
        timeout_s=TIMEOUT_S,
        **(NOW | settings),
    )
    *findings, report = map(json.loads, done.stdout.splitlines())
    told: dict[str, set[str]] = {}
    for finding in findings:
        told.setdefault(finding["kind"], set()).add(finding["blob_key"])
    assert Counter(f["kind"] for f in findings) == {k: len(v) for k, v in told.items()}
    return told, report


async def test_the_four_kinds_are_counted_exactly_while_uploads_run(alone: Installation) -> None:
    with alone.serving() as process:
        async with ClientSession(process.url, headers=AUTHORIZED) as http, alone.store() as s3:
            await put_all(http, OBJECTS + CHANGED + UNTOUCHED)
            keys = sorted(await alone.store_keys())
            removed, changed = keys[:OBJECTS], keys[OBJECTS : OBJECTS + CHANGED]
            folder = keys[0].rsplit("/", 2)[0]
            strays = [f"{folder}/{s[:2]}/{s}" for s in (secrets.token_hex(20) for _ in removed)]
            opened = f"{folder}/zz/{secrets.token_hex(20)}"
            expected = {
                "missing_blob": set(removed),
                "size_or_digest_differs": set(changed),
                "stray_blob": set(strays),
                "open_multipart_without_entry": {opened},
            }
            async with RunningUploads(http):
                vandal = Vandal(alone, s3)
                await vandal.remove(removed)
                await vandal.write(changed, b"of another size, surely")
                await vandal.write(strays, b"stray")
                await vandal.open_multipart(opened)
                await asyncio.sleep(1.1)  # some stores tell whole seconds
                told, report = await asyncio.to_thread(audit, alone)
            assert told == expected
            assert {kind: report[kind] for kind in expected} == {
                kind: len(found) for kind, found in expected.items()
            }
            told, report = await asyncio.to_thread(
                audit, alone, "--fix=strays", AUDIT__QUARANTINE_S=0.1
            )
            assert told == expected
            assert (report["deleted"], report["failed"]) == (OBJECTS + 1, 0)
            assert not {*strays, f"{opened}?"} & set(await alone.store_keys())
            async with http.get(f"{BUCKET}/objects", params={"prefix": "slow/"}) as response:
                assert len((await response.json())["items"]) == UPLOADS
        assert not process.events("request_failed")


async def facts(http: ClientSession, key: str) -> dict[str, Any]:
    async with http.get(f"{BUCKET}/metadata/{key}") as response:
        found: dict[str, Any] = await response.json()
        return found


def scrub(alone: Installation) -> dict[str, int]:
    done = alone.run("scrub", "--once", exit_code=1, S3__REQUEST_TIMEOUT_S=2)
    report: dict[str, int] = json.loads(done.stdout)
    return report


async def test_another_content_of_the_same_length_is_found_marked_and_told(
    alone: Installation,
) -> None:
    with alone.serving(SCRUB__INTERVAL_S=1, AUDIT__INTERVAL_S=1) as process:
        async with ClientSession(process.url, headers=AUTHORIZED) as http, alone.store() as s3:
            await put_all(http, 3)
            (victim, *_) = sorted(await alone.store_keys())
            await Vandal(alone, s3).write([victim], b"Content of X")

            async def damaged() -> list[str]:
                found = [await facts(http, f"file/{number}") for number in range(3)]
                return [each["key"] for each in found if each["damaged_at"]]

            await eventually(damaged, within_s=20)
            (key,) = await damaged()
            async with http.get(f"{BUCKET}/objects/{key}") as response:
                assert (response.status, await response.read()) == (200, b"Content of X")
            assert (await facts(http, key))["revision"] == 2

            async def shown() -> bool:
                async with http.get("/metrics") as response:
                    text = await response.text()
                return (
                    'mediagate_scrubbed_blobs_total{result="damaged"}' in text
                    and 'mediagate_audit_findings{kind="missing_blob"} 0.0' in text
                )

            await eventually(shown, within_s=20)
        assert process.events("blob_damaged")
        assert process.events("damaged_version_read")


async def test_one_flipped_byte_in_the_stores_own_files_is_found(alone: Installation) -> None:
    content = secrets.token_bytes(300_000)
    with alone.serving() as process:
        async with ClientSession(process.url, headers=AUTHORIZED) as http:
            await put_all(http, 3)
            await put(http, "victim", content)
            await asyncio.to_thread(flip, alone.stack.env_file.parent, content[1000:1032])
            report = await asyncio.to_thread(scrub, alone)
            assert (report["blobs"], report["damaged"]) == (4, 1)
            assert (await facts(http, "victim"))["damaged_at"] is not None
            assert (await facts(http, "file/1"))["damaged_at"] is None


def flip(folder: Path, needle: bytes) -> None:
    """The one byte in all files of the store that begins these."""
    flipped = 0
    for path in folder.rglob("*"):
        if not path.is_file() or path.stat().st_size < len(needle):
            continue
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            at = view.find(needle)
            if at >= 0:
                view[at] ^= 1
                flipped += 1
    assert flipped == 1
