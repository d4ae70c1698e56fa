"""Buckets that keep versions, over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from service.model.api_key import Scope
from tests.web.serving import Service

FILMS = "/v1/buckets/films"
OBJECT = f"{FILMS}/objects/a/b"
HISTORY = f"{FILMS}/versions/a/b"


@pytest.fixture
async def keeping(service: Service) -> Service:
    made = await ask(service, "PUT", FILMS, json={"versioning": True})
    assert made.status == 201
    return service


class Told:
    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def version(self) -> str:
        found: str = self.body["version"]
        return found


async def ask(service: Service, method: str, path: str, **kwargs: Any) -> Told:
    async with service.fetch(method, path, **kwargs) as response:
        as_json = "json" in response.headers.get("Content-Type", "") and method != "HEAD"
        body = await (response.json() if as_json else response.read())
        return Told(response.status, response.headers, body)


async def put(service: Service, data: bytes) -> str:
    told = await ask(service, "PUT", OBJECT, data=data)
    assert told.status in (200, 201)
    return told.version


async def history(service: Service, query: str = "") -> Any:
    told = await ask(service, "GET", HISTORY + query)
    assert told.status == 200
    return told.body


async def test_versioning_is_a_setting_that_is_switched_on_and_off(service: Service) -> None:
    made = await ask(service, "PUT", FILMS)
    assert made.body["versioning"] is False
    for value in (True, False):
        changed = await ask(service, "PATCH", FILMS, json={"versioning": value})
        assert (changed.status, changed.body["versioning"]) == (200, value)


async def test_every_content_of_a_key_is_read_by_its_version(keeping: Service) -> None:
    contents = [b"one", b"two", b"three"]
    ids = [await put(keeping, data) for data in contents]
    told = await history(keeping)
    assert [item["version"] for item in told["items"]] == ids[::-1]
    assert [item["latest"] for item in told["items"]] == [True, False, False]
    assert not any(item["delete_marker"] for item in told["items"])
    assert told["next"] is None
    for version, data in zip(ids, contents, strict=True):
        for method in ("GET", "HEAD"):
            read = await ask(keeping, method, f"{OBJECT}?version={version}")
            assert read.status == 200
            assert read.headers["ETag"] == f'"{version}"'
            assert read.headers["Content-Length"] == str(len(data))
            assert read.body == (data if method == "GET" else b"")
    assert (await ask(keeping, "GET", OBJECT)).body == b"three"


async def test_a_history_is_read_in_pages(keeping: Service) -> None:
    ids = [await put(keeping, b"%d" % n) for n in range(5)]
    met, path = [], f"{HISTORY}?limit=2"
    while path:
        told = await ask(keeping, "GET", path)
        met += [item["version"] for item in told.body["items"]]
        cursor = told.body["next"]
        assert ("Link" in told.headers) is (cursor is not None)
        path = f"{HISTORY}?limit=2&cursor={cursor}" if cursor else ""
    assert met == ids[::-1]


async def test_a_delete_hides_and_taking_the_marker_away_shows_again(keeping: Service) -> None:
    version = await put(keeping, b"data")
    deleted = await ask(keeping, "DELETE", OBJECT)
    assert (deleted.status, deleted.headers["X-Delete-Marker"]) == (204, "true")
    marker = deleted.headers["X-Version-Id"]
    for method in ("GET", "HEAD"):
        hidden = await ask(keeping, method, OBJECT)
        assert (hidden.status, hidden.headers["X-Delete-Marker"]) == (404, "true")
    hidden = await ask(keeping, "GET", f"{FILMS}/metadata/a/b")
    assert (hidden.status, hidden.body["code"]) == (404, "object_not_found")
    assert (await ask(keeping, "GET", f"{OBJECT}?version={marker}")).status == 404
    assert (await ask(keeping, "GET", f"{OBJECT}?version={version}")).body == b"data"
    shown = (await history(keeping))["items"]
    assert [(item["version"], item["delete_marker"]) for item in shown] == [
        (marker, True),
        (version, False),
    ]
    taken = await ask(keeping, "DELETE", f"{OBJECT}?version={marker}")
    assert (taken.status, taken.headers["X-Delete-Marker"]) == (204, "true")
    assert (await ask(keeping, "GET", OBJECT)).body == b"data"


async def test_a_name_that_never_was_is_404_without_a_marker(keeping: Service) -> None:
    missing = await ask(keeping, "GET", OBJECT)
    assert missing.status == 404
    assert "X-Delete-Marker" not in missing.headers
    assert await history(keeping) == {"items": [], "next": None}
    deleted = await ask(keeping, "DELETE", OBJECT)
    assert deleted.status == 204
    assert "X-Version-Id" not in deleted.headers


async def test_a_version_is_deleted_for_good_and_the_one_before_is_shown(
    keeping: Service,
) -> None:
    first, second = await put(keeping, b"first"), await put(keeping, b"second")
    path = f"{OBJECT}?version={second}"
    refused = await ask(keeping, "DELETE", path, headers={"If-Match": f'"{first}"'})
    assert refused.status == 412
    deleted = await ask(keeping, "DELETE", path, headers={"If-Match": f'"{second}"'})
    assert (deleted.status, deleted.headers["X-Version-Id"]) == (204, second)
    assert "X-Delete-Marker" not in deleted.headers
    assert (await ask(keeping, "GET", path)).status == 404
    assert (await ask(keeping, "GET", OBJECT)).body == b"first"
    assert (await ask(keeping, "DELETE", path)).status == 204


async def test_a_put_over_a_marker_creates(keeping: Service) -> None:
    await put(keeping, b"old")
    await ask(keeping, "DELETE", OBJECT)
    only_new = {"If-None-Match": "*"}
    assert (await ask(keeping, "PUT", OBJECT, data=b"new", headers=only_new)).status == 201
    assert (await ask(keeping, "PUT", OBJECT, data=b"newer")).status == 200
    assert len((await history(keeping))["items"]) == 4


async def test_a_bucket_with_old_versions_or_markers_is_not_empty(keeping: Service) -> None:
    version = await put(keeping, b"data")
    deleted = await ask(keeping, "DELETE", OBJECT)
    for left in (version, deleted.headers["X-Version-Id"]):
        refused = await ask(keeping, "DELETE", FILMS)
        assert (refused.status, refused.body["code"]) == (409, "bucket_not_empty")
        await ask(keeping, "DELETE", f"{OBJECT}?version={left}")
    assert (await ask(keeping, "DELETE", FILMS)).status == 204


async def test_a_history_needs_the_right_to_read_its_key(keeping: Service) -> None:
    await put(keeping, b"data")
    writer = await keeping.make_key(Scope.WRITE)
    elsewhere = await keeping.make_key(Scope.READ, prefixes=("c/",))
    reader = await keeping.make_key(Scope.READ, prefixes=("a/",))
    for key, status in ((writer, 403), (elsewhere, 403), (reader, 200)):
        assert (await ask(keeping, "GET", HISTORY, key=key)).status == status


async def test_a_history_of_a_bucket_that_is_not_there_is_404(service: Service) -> None:
    missing = await ask(service, "GET", HISTORY)
    assert (missing.status, missing.body["code"]) == (404, "bucket_not_found")
