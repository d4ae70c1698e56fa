"""`make load` for some seconds, on the session's servers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from service.devstack import Stack
from tests.e2e.installation import AUTHORIZED, ROOT_KEY, Installation, eventually, install

ROOT = Path(__file__).parent.parent.parent
KINDS = {
    ("UPLOAD", "known length"),
    ("UPLOAD", "unknown length"),
    ("DOWNLOAD", "whole"),
    ("DOWNLOAD", "seek"),
    ("LIST", "prefix"),
    ("LIST", "folders"),
    ("DELETE", "object"),
}


@pytest.fixture
def installation(devstack: Stack, tmp_path: Path) -> Iterator[Installation]:
    made = install(devstack, tmp_path)
    yield made
    made.kill_all()


async def load(
    url: str, folder: Path, *more: str, key: str = ROOT_KEY
) -> tuple[int, dict[tuple[str, str], Any], str]:
    """Exit code, statistics by kind, and what was printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.load", "--url", url, "--users", "4", "--time", "5s",
        "--max-size", "1MiB", "--data", str(folder), "--json", str(folder / "load"), *more,
        cwd=ROOT, env={**os.environ, "MEDIAGATE_KEY": key},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    told = folder / "load.json"
    found = json.loads(told.read_text()) if told.exists() else []
    assert process.returncode is not None
    return (
        process.returncode,
        {(each["method"], each["name"]): each for each in found},
        out.decode(),
    )


async def buckets(url: str) -> list[str]:
    async with (
        ClientSession(url, headers=AUTHORIZED) as http,
        http.get("/v1/buckets") as response,
    ):
        return [item["name"] for item in (await response.json())["items"]]


@pytest.mark.timeout(150)
async def test_a_run_does_everything_without_a_failure_and_leaves_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    with installation.serving(HTTP__IDLE_TIMEOUT_S=30) as service:
        code, kinds, out = await load(service.url, tmp_path / "report")
        assert code == 0, out
        assert set(kinds) == KINDS
        assert all(each["num_requests"] > 0 for each in kinds.values())
        assert not any(each["num_failures"] for each in kinds.values())
        assert await buckets(service.url) == []
    report = (tmp_path / "report" / "load.html").read_text()
    assert "unknown length" in report
    assert ROOT_KEY not in report + out

    async def clean() -> bool:
        await asyncio.to_thread(installation.sweep)
        return await installation.store_keys() == []

    await eventually(clean, within_s=60)


@pytest.mark.timeout(150)
async def test_refused_uploads_make_it_fail_and_it_cleans_up_in_a_bucket_of_others(
    installation: Installation, tmp_path: Path
) -> None:
    with installation.serving(LIMITS__MAX_OBJECT_BYTES=5000) as service:
        async with ClientSession(service.url, headers=AUTHORIZED) as http:
            for path in ("/v1/buckets/shared", "/v1/buckets/shared/objects/mine"):
                async with http.put(path, data=b"" if path.endswith("d") else b"x") as response:
                    assert response.status == 201
            code, kinds, out = await load(service.url, tmp_path, "--bucket", "shared")
            assert code == 1, out
            refused = kinds["UPLOAD", "known length"]
            assert 0 < refused["num_failures"] < refused["num_requests"]
            async with http.get("/v1/buckets/shared/objects") as response:
                left = [item["key"] for item in (await response.json())["items"]]
    assert left == ["mine"]


async def test_a_wrong_key_ends_it_before_it_begins(
    installation: Installation, tmp_path: Path
) -> None:
    with installation.serving() as service:
        code, kinds, out = await load(service.url, tmp_path, key="mg_wrong")
    assert (code, kinds) == (1, {})
    assert "401" in out
    assert "unauthenticated" in out
