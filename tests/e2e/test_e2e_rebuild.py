"""The database is lost, and comes back from the journal in S3."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.installation import AUTHORIZED, Installation, Process, eventually

MIB = 1 << 20
FILMS = "/v1/buckets/films"
KEPT = "/v1/buckets/kept"
SETTINGS = {"cache_control": "no-cache", "allowed_content_types": ["video/*", "text/plain"]}
SHOWN = ("Content-Type", "Content-Length", "ETag", "Repr-Digest", "Last-Modified")
SHOWN_TOO = ("Content-Disposition", "Cache-Control", "X-Meta-Title", "X-Tags")


@dataclass
class Seen:
    """All that a client can see of an installation."""

    buckets: Any = None
    objects: Any = None
    keys: Any = None
    history: Any = None
    facts: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)


async def look(process: Process) -> Seen:
    seen = Seen()
    async with ClientSession(process.url, headers=AUTHORIZED) as http:

        async def shown(path: str) -> Any:
            async with http.get(path) as response:
                assert response.status == 200, path
                return await response.json()

        seen.buckets = await shown("/v1/buckets")
        seen.objects = await shown(f"{FILMS}/objects")
        seen.keys = await shown("/v1/keys")
        for item in seen.objects["items"]:
            key = item["key"]
            seen.facts[key] = await shown(f"{FILMS}/metadata/{key}")
            async with http.get(f"{FILMS}/objects/{key}") as response:
                seen.bodies[key] = await response.read()
                named = SHOWN + SHOWN_TOO
                seen.headers[key] = {name: response.headers.get(name) for name in named}
        seen.history = await shown(f"{KEPT}/versions/a")
        for item in seen.history["items"]:
            async with http.get(f"{KEPT}/objects/a?version={item['version']}") as response:
                assert response.status == (404 if item["delete_marker"] else 200)
                if response.status == 200:
                    seen.bodies[item["version"]] = await response.read()
        async with http.get(f"{KEPT}/objects/a") as response:
            seen.headers["a"] = (response.status, response.headers.get("X-Delete-Marker"))
    return seen


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


async def fill_kept(http: ClientSession) -> None:
    """In a bucket that keeps versions: two of them, one of three deleted for good, and a marker."""
    async with http.put(KEPT, json={"versioning": True}) as response:
        assert response.status == 201
    for data in (b"one", b"two", b"three"):
        async with http.put(f"{KEPT}/objects/a", data=data) as response:
            version = (await response.json())["version"]
    for query in (f"?version={version}", ""):
        async with http.delete(f"{KEPT}/objects/a{query}") as response:
            assert response.status == 204


async def fill(process: Process) -> tuple[dict[str, str], dict[str, str]]:
    """Objects of several kinds, settings, keys; returns headers of a good and a revoked key."""
    large = random.Random(1).randbytes(12 * MIB)
    facts = {
        "Content-Type": "video/mp4",
        "X-Meta-Title": "UTF-8''Ein%20St%C3%BCck",
        "X-Tags": "a=b&c=d",
        "Content-Disposition": 'attachment; filename="one.mp4"',
        "Want-Repr-Digest": "sha-256=1",
    }
    text = {"Content-Type": "text/plain"}
    made = []
    async with ClientSession(process.url, headers=AUTHORIZED) as http:
        async with http.put(FILMS) as response:
            assert response.status == 201
        async with http.patch(FILMS, json=SETTINGS) as response:
            assert response.status == 200, await response.text()
        async with http.put("/v1/buckets/gone") as response:
            assert response.status == 201
        async with http.delete("/v1/buckets/gone") as response:
            assert response.status == 204
        for key, data, headers in (
            ("empty", b"", text),
            ("small", b"small", facts),
            ("large/of/unknown/length", pieces(large), {"Content-Type": "video/mp4"}),
            ("over", b"old", text),
            ("over", b"and new", text),
            ("gone", b"gone", text),
            ("back", b"gone", text),
        ):
            async with http.put(f"{FILMS}/objects/{key}", data=data, headers=headers) as response:
                assert response.status in (200, 201), await response.text()
        for key in ("gone", "back"):
            async with http.delete(f"{FILMS}/objects/{key}") as response:
                assert response.status == 204
        async with http.put(f"{FILMS}/objects/back", data=b"again", headers=text) as response:
            assert response.status == 201
        await fill_kept(http)
        for name in ("kept", "revoked"):
            wanted = {"name": name, "scopes": ["read"], "buckets": ["films"]}
            async with http.post("/v1/keys", json=wanted) as response:
                assert response.status == 201, await response.text()
                made.append(await response.json())
        async with http.delete(f"/v1/keys/{made[1]['id']}") as response:
            assert response.status == 204
    good, revoked = [{"Authorization": f"Bearer {each['token']}"} for each in made]
    return good, revoked


async def journal_is_level(installation: Installation) -> None:
    async def level() -> bool:
        done = await asyncio.to_thread(installation.run, "backup", "--check")
        return json.loads(done.stdout)["unpublished"] == 0

    await eventually(level, within_s=15)


@pytest.mark.timeout(120)
async def test_everything_comes_back_after_the_database_is_lost(
    make_installation: Callable[[], Installation],
) -> None:
    installation = make_installation()
    process = installation.start()
    good, revoked = await fill(process)
    before = await look(process)
    assert len(before.bodies) == 5 + 2
    assert before.headers["a"] == (404, "true")
    await journal_is_level(installation)
    process.kill()
    installation.drop_metadata()
    done = await asyncio.to_thread(installation.run, "rebuild")
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["objects"], report["buckets"], report["unplaced"]) == (7, 2, 0)
    assert report["strays"] == 4, "what was overwritten and deleted, within the grace"
    assert report["damaged_journal_objects"] == []
    with installation.serving() as process:
        after = await look(process)
        assert after == before
        async with ClientSession(process.url) as http:
            async with http.get(f"{FILMS}/objects/small", headers=good) as response:
                assert response.status == 200
            async with http.get(f"{FILMS}/objects/small", headers=revoked) as response:
                assert response.status == 401
            headers = AUTHORIZED | {"Content-Type": "text/plain"}
            async with http.put(f"{FILMS}/objects/over", data=b"3", headers=headers) as response:
                assert response.status == 200
        changed = await look(process)
    # The service said goodbye in peace: what it was told last is in the journal too.
    installation.drop_metadata()
    await asyncio.to_thread(installation.run, "rebuild")
    with installation.serving() as process:
        assert await look(process) == changed
    refused = await asyncio.to_thread(run_refused, installation)
    assert "not empty" in refused


def run_refused(installation: Installation) -> str:
    with pytest.raises(AssertionError) as refusal:
        installation.run("rebuild")
    return str(refusal.value)
