"""Every error is problem+json, and says no more than it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, web

from service import errors
from service.errors import MediagateError
from service.web.problems import STATUSES, problem_of
from service.web.route import Route
from tests.web.serving import Service, Start, exchange


def every_error() -> list[type[MediagateError]]:
    found, todo = [], [MediagateError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


async def told(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = await response.json(content_type=None)
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == "/problems/" + code.replace("_", "-")
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["detail"]
    return problem  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_by_its_nearest_class(kind: type[MediagateError]) -> None:
    nearest = next((STATUSES[cls] for cls in kind.__mro__ if cls in STATUSES), 500)
    assert problem_of(kind("why")).status == nearest


def test_internal_errors_tell_nothing_of_what_they_are() -> None:
    for error in (
        errors.BlobMissing("blobs/x/secret"),
        ValueError("secret"),
        errors.SchemaMismatch("secret"),
    ):
        problem = problem_of(error)
        assert (problem.status, problem.code) == (500, "internal")
        assert "secret" not in problem.detail


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreUnavailable(),
        errors.StoreTimeout(),
        errors.RateLimited(),
        errors.RequestInProgress(),
    ],
    ids=lambda error: error.code,
)
def test_what_passes_by_itself_says_when_to_try_again(error: MediagateError) -> None:
    assert int(problem_of(error).headers["Retry-After"]) >= 1


def test_other_conflicts_do_not() -> None:
    assert "Retry-After" not in problem_of(errors.BucketExists()).headers


def test_an_unsatisfiable_range_tells_the_length() -> None:
    problem = problem_of(errors.RangeNotSatisfiable("no", size_bytes=10))
    assert problem.headers["Content-Range"] == "bytes */10"


async def test_unknown_routes_are_404(service: Service) -> None:
    async with service.fetch("GET", "/v2/none") as response:
        await told(response, 404, "not_found")


async def test_a_wrong_method_is_405_with_allow(service: Service) -> None:
    async with service.fetch("PUT", "/healthz") as response:
        await told(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "GET,HEAD"


async def test_a_method_that_nobody_knows_is_405(service: Service) -> None:
    async with service.fetch("BREW", "/v1/buckets") as response:
        await told(response, 405, "method_not_allowed")
        assert "PUT" in response.headers["Allow"]
        assert response.headers["Server"] == "mediagate"


async def test_a_json_body_that_is_too_large_is_413(service: Service, bucket: str) -> None:
    body = b'{"cache_control": "' + b"x" * 70_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    async with service.fetch(
        "PATCH", f"/v1/buckets/{bucket}", data=body, headers=headers
    ) as response:
        await told(response, 413, "too_large")


async def test_a_bad_bucket_name_is_400(service: Service) -> None:
    async with service.fetch("PUT", "/v1/buckets/No") as response:
        await told(response, 400, "invalid_bucket_name")


async def test_an_unknown_expectation_is_417(service: Service) -> None:
    async with service.fetch("GET", "/v1/buckets", headers={"Expect": "miracles"}) as response:
        await told(response, 417, "expectation_failed")


async def test_a_store_that_is_down_is_503(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise errors.StoreUnavailable("mongodb://user:secret@host is down")

    monkeypatch.setattr(service.metadata.buckets, "list", down)
    async with service.fetch("GET", "/v1/buckets") as response:
        await told(response, 503, "store_unavailable")
        assert response.headers["Retry-After"]


async def test_a_bug_is_500_with_a_generic_detail(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(service.metadata.buckets, "list", broken)
    async with service.fetch("GET", "/v1/buckets") as response:
        problem = await told(response, 500, "internal")
        assert "secret" not in str(problem)


async def test_what_is_no_http_is_400(service: Service) -> None:
    answer = await exchange(service.port, b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"application/problem+json" in answer
    assert b'"code":"invalid"' in answer
    assert b"Bad Header" not in answer


async def test_a_head_request_gets_the_head_of_the_problem_only(service: Service) -> None:
    async with service.fetch("HEAD", "/v1/buckets/none-here") as response:
        assert response.status == 404
        assert response.headers["Content-Type"] == "application/problem+json"
        assert await response.read() == b""


async def test_once_a_body_has_begun_the_connection_is_cut(start: Start) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"some")
        await asyncio.sleep(0.05)
        raise errors.StoreUnavailable("in mid-stream")

    async with start(Route("GET", "/breaks", breaks, None)) as service:
        response = await service.fetch("GET", "/breaks")
        assert response.status == 200
        with pytest.raises((ClientPayloadError, ClientConnectionError)):
            await response.read()
