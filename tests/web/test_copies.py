"""Copies, moves and restores over HTTP.

What they promise of the stores is in tests/contract/test_handover.py and
tests/usecases/test_copy_object.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from service.model.api_key import Scope
from tests.web.serving import Service

FILMS = "/v1/buckets/films"
COPIES, MOVES = f"{FILMS}/copies", f"{FILMS}/moves"


async def ask(service: Service, method: str, path: str, **kwargs: Any) -> tuple[int, Any, Any]:
    async with service.fetch(method, path, **kwargs) as response:
        as_json = "json" in response.headers.get("Content-Type", "")
        body = await (response.json() if as_json else response.read())
        return response.status, response.headers, body


def body(source: str = "a", destination: str = "b", **more: Any) -> dict[str, Any]:
    return {"source": {"key": source, **more}, "destination": {"key": destination}}


@pytest.fixture
async def film(service: Service, bucket: str) -> dict[str, Any]:
    """An object with facts, under the key `a`."""
    headers = {"Content-Type": "video/mp4", "X-Meta-Title": "One", "X-Tags": "year=2026"}
    status, _, made = await ask(service, "PUT", f"{FILMS}/objects/a", data=b"film", headers=headers)
    assert status == 201
    return dict(made)


async def content(service: Service, key: str, bucket: str = "films") -> tuple[int, Any]:
    status, _, data = await ask(service, "GET", f"/v1/buckets/{bucket}/objects/{key}")
    return status, data if status == 200 else None


async def test_a_copy_has_the_bytes_facts_and_digests_and_a_version_of_its_own(
    service: Service, film: dict[str, Any]
) -> None:
    status, headers, copy = await ask(service, "POST", COPIES, json=body())
    assert status == 201
    assert headers["Location"].endswith("/v1/buckets/films/objects/b")
    assert headers["ETag"] == copy["etag"] != film["etag"]
    for same in ("size_bytes", "content_type", "user_metadata", "tags", "digests"):
        assert copy[same] == film[same]
    assert await content(service, "a") == await content(service, "b") == (200, b"film")


async def test_a_copy_goes_to_another_bucket_and_overwrites_with_200(
    service: Service, film: dict[str, Any]
) -> None:
    await ask(service, "PUT", "/v1/buckets/archive")
    wanted = body() | {"destination": {"bucket": "archive", "key": "x/y"}}
    for expected in (201, 200):
        status, headers, copy = await ask(service, "POST", COPIES, json=wanted)
        assert (status, copy["bucket"], copy["key"]) == (expected, "archive", "x/y")
        assert headers["Location"].endswith("/v1/buckets/archive/objects/x/y")
    assert await content(service, "x/y", "archive") == (200, b"film")


async def test_a_move_takes_the_name_away_and_keeps_the_blob(
    service: Service, film: dict[str, Any]
) -> None:
    blobs = set(service.blobs.blobs)
    status, _, moved = await ask(service, "POST", MOVES, json=body())
    assert (status, moved["key"], moved["digests"]) == (201, "b", film["digests"])
    assert await content(service, "a") == (404, None)
    assert await content(service, "b") == (200, b"film")
    assert set(service.blobs.blobs) == blobs
    status, _, problem = await ask(service, "POST", MOVES, json=body())
    assert (status, problem["code"]) == (404, "object_not_found")


async def test_a_move_out_of_a_bucket_with_versions_hides_the_source(
    service: Service, film: dict[str, Any]
) -> None:
    await ask(service, "PATCH", FILMS, json={"versioning": True})
    status, _, _ = await ask(service, "POST", MOVES, json=body())
    assert status == 201
    assert await content(service, "a") == (404, None)
    assert await content(service, f"a?version={film['version']}") == (200, b"film")
    _, _, history = await ask(service, "GET", f"{FILMS}/versions/a")
    assert [item["delete_marker"] for item in history["items"]] == [True, False]


async def test_conditions_hold_on_both_sides(service: Service, film: dict[str, Any]) -> None:
    only_new = {"If-None-Match": "*"}
    for path in (COPIES, MOVES):
        stale = body(if_match='"another"')
        assert (await ask(service, "POST", path, json=stale))[0] == 412
    exact = body(if_match=film["etag"], version=film["version"])
    assert (await ask(service, "POST", COPIES, json=exact, headers=only_new))[0] == 201
    assert (await ask(service, "POST", COPIES, json=exact, headers=only_new))[0] == 412
    assert (await ask(service, "POST", MOVES, json=exact, headers=only_new))[0] == 412
    assert await content(service, "a") == (200, b"film")
    if_match = {"If-Match": film["etag"]}
    assert (await ask(service, "POST", MOVES, json=exact, headers=if_match))[0] == 412


async def test_a_copy_is_replayed_by_its_idempotency_key_even_when_the_source_is_gone(
    service: Service, film: dict[str, Any]
) -> None:
    once = {"Idempotency-Key": "once"}
    first = await ask(service, "POST", COPIES, json=body(), headers=once)
    await ask(service, "DELETE", f"{FILMS}/objects/a")
    again = await ask(service, "POST", COPIES, json=body(), headers=once)
    assert (first[0], first[2]) == (again[0], again[2])
    assert again[1]["Idempotency-Replayed"] == "true"
    other = await ask(service, "POST", COPIES, json=body(destination="c"), headers=once)
    assert other[0] == 422


async def test_a_move_refuses_an_idempotency_key(service: Service, film: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "once"}
    status, _, problem = await ask(service, "POST", MOVES, json=body(), headers=headers)
    assert (status, problem["field"]) == (400, "Idempotency-Key")
    assert await content(service, "a") == (200, b"film")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (body(source="a//b"), "source.key"),
        (body(destination=".."), "destination.key"),
        (body(if_match="no tag"), "source.if_match"),
        ({"source": {"key": "a"}}, "destination"),
        (body() | {"destination": {"key": {"$ne": None}}}, "destination.key"),
        (body() | {"mode": "fast"}, "mode"),
    ],
)
async def test_what_is_wrong_is_named(
    service: Service, film: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    for path in (COPIES, MOVES):
        status, _, problem = await ask(service, "POST", path, json=wrong)
        assert status == 400
        assert field in (problem.get("field"), *(e["field"] for e in problem.get("errors", ())))


async def test_what_is_not_there_is_404(service: Service, film: dict[str, Any]) -> None:
    for path in (COPIES, MOVES):
        assert (await ask(service, "POST", path, json=body(source="none")))[0] == 404
        nowhere = body() | {"destination": {"bucket": "nowhere", "key": "b"}}
        assert (await ask(service, "POST", path, json=nowhere))[0] == 404
    old = body(version="01H00000000000000000000000")
    assert (await ask(service, "POST", COPIES, json=old))[0] == 404


async def test_a_move_onto_itself_is_refused_and_a_copy_is_a_new_version(
    service: Service, film: dict[str, Any]
) -> None:
    assert (await ask(service, "POST", MOVES, json=body(destination="a")))[0] == 400
    status, _, copy = await ask(service, "POST", COPIES, json=body(destination="a"))
    assert (status, copy["version"] != film["version"]) == (200, True)
    assert await content(service, "a") == (200, b"film")


async def test_an_old_version_is_restored_as_a_new_one(service: Service, bucket: str) -> None:
    await ask(service, "PATCH", FILMS, json={"versioning": True})
    _, _, old = await ask(service, "PUT", f"{FILMS}/objects/k", data=b"old")
    await ask(service, "PUT", f"{FILMS}/objects/k", data=b"new")
    _, headers, _ = await ask(service, "DELETE", f"{FILMS}/objects/k")
    marker = headers["X-Version-Id"]
    restore = f"{FILMS}/versions/k"
    status, _, restored = await ask(service, "POST", restore, json={"restore": old["version"]})
    assert (status, restored["version"] != old["version"]) == (201, True)
    assert await content(service, "k") == (200, b"old")
    _, _, history = await ask(service, "GET", restore)
    assert len(history["items"]) == 4
    for gone in (marker, "01H00000000000000000000000"):
        assert (await ask(service, "POST", restore, json={"restore": gone}))[0] == 404


EVERYTHING = (Scope.READ, Scope.WRITE, Scope.DELETE)


@pytest.mark.parametrize("missing", EVERYTHING)
async def test_each_side_needs_its_scope(
    service: Service, film: dict[str, Any], missing: Scope
) -> None:
    key = await service.make_key(*(scope for scope in EVERYTHING if scope is not missing))
    copied = await ask(service, "POST", COPIES, json=body(destination="c"), key=key)
    assert copied[0] == (201 if missing is Scope.DELETE else 403)
    assert (await ask(service, "POST", MOVES, json=body(), key=key))[0] == 403
    assert await content(service, "a") == (200, b"film")


@pytest.mark.parametrize(
    "limits",
    [
        {"buckets": ("archive",)},
        {"buckets": ("films",)},
        {"prefixes": ("a",)},
        {"prefixes": ("x/",)},
    ],
)
async def test_a_limited_key_reaches_neither_side_outside_of_its_limits(
    service: Service, film: dict[str, Any], limits: dict[str, Any]
) -> None:
    await ask(service, "PUT", "/v1/buckets/archive")
    key = await service.make_key(*EVERYTHING, **limits)
    wanted = body() | {"destination": {"bucket": "archive", "key": "x/y"}}
    for path in (COPIES, MOVES):
        assert (await ask(service, "POST", path, json=wanted, key=key))[0] == 403
    assert await content(service, "x/y", "archive") == (404, None)


async def test_a_restore_needs_both_to_read_and_to_write(
    service: Service, film: dict[str, Any]
) -> None:
    for scopes in ((Scope.READ,), (Scope.WRITE,)):
        key = await service.make_key(*scopes)
        wanted = {"restore": film["version"]}
        assert (await ask(service, "POST", f"{FILMS}/versions/a", json=wanted, key=key))[0] == 403
