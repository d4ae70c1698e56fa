"""Request ids, CORS, absolute URLs, health, and what the metrics see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from service.errors import StoreUnavailable
from service.settings import Http
from service.usecases import readiness
from service.web.route import Route
from service.web.state import READINESS
from service.web.urls import absolute_url, client_address, object_path
from tests.web.serving import ORIGIN, Service, Start

PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization, x-meta-title",
}


async def test_the_clients_request_id_is_echoed_and_logged(service: Service) -> None:
    with capture_logs() as logs:
        async with service.fetch(
            "GET", "/v1/buckets", headers={"X-Request-Id": "abc-1"}
        ) as response:
            assert response.headers["X-Request-Id"] == "abc-1"
    [event] = [event for event in logs if event["event"] == "request"]
    assert event["route"] == "/v1/buckets"
    assert event["status"] == 200


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é", '"', ""])
async def test_a_request_id_that_could_do_harm_is_replaced(service: Service, given: str) -> None:
    async with service.fetch("GET", "/healthz", headers={"X-Request-Id": given}) as response:
        assert len(response.headers["X-Request-Id"]) == 26


async def test_secrets_and_names_stay_out_of_the_log(service: Service) -> None:
    with capture_logs() as logs:
        async with service.fetch("GET", "/v1/buckets/secret-name/objects?prefix=x") as response:
            assert response.status == 404
    assert "secret-name" not in str(logs)
    assert "mg_root" not in str(logs)


async def test_an_allowed_origin_may_read_everything_that_matters(service: Service) -> None:
    async with service.fetch("GET", "/v1/buckets", headers={"Origin": ORIGIN}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in response.headers["Vary"]
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "Location", "Content-Range", "Accept-Ranges", "Link"} < set(exposed)
    assert {"Repr-Digest", "X-Request-Id"} < set(exposed)


async def test_problems_are_readable_across_origins(service: Service) -> None:
    async with service.fetch(
        "GET", "/v1/buckets", key=None, headers={"Origin": ORIGIN}
    ) as response:
        assert response.status == 401
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_another_origin_gets_no_permission_but_vary(service: Service) -> None:
    async with service.fetch(
        "GET", "/v1/buckets", headers={"Origin": "https://evil.example"}
    ) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Origin" in response.headers["Vary"]


async def test_a_preflight_needs_no_key(service: Service) -> None:
    async with service.fetch(
        "OPTIONS", "/v1/buckets/films/objects/a%2Fb", key=None, headers=PREFLIGHT
    ) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "PUT" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Headers"] == "authorization, x-meta-title"
        assert "Origin" in response.headers["Vary"]


async def test_a_preflight_from_elsewhere_allows_nothing(service: Service) -> None:
    headers = {**PREFLIGHT, "Origin": "https://evil.example"}
    async with service.fetch("OPTIONS", "/v1/buckets", key=None, headers=headers) as response:
        assert not [name for name in response.headers if name.startswith("Access-Control")]


async def test_without_origins_nothing_is_said_of_cors(start: Start) -> None:
    async with start(http=Http()) as service:
        response = await service.fetch("GET", "/v1/buckets", headers={"Origin": ORIGIN})
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Vary" not in response.headers


async def test_health_and_readiness_need_no_key(service: Service) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        async with service.fetch("GET", path, key=None) as response:
            assert response.status == 200


async def test_readiness_flips_with_a_store_and_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(readiness, "CACHE_S", 0.0)
    ready = readiness.Readiness(service.blobs, service.metadata)
    assert await ready.problems() == ()
    service.blobs.ping = down  # type: ignore[method-assign]
    assert await readiness.Readiness(service.blobs, service.metadata).problems() == (
        "blob store: store_unavailable",
    )
    del service.blobs.ping
    assert await ready.problems() == ()


async def test_a_store_that_is_unfit_is_never_ready(service: Service) -> None:
    unfit = readiness.Readiness(service.blobs, service.metadata, ("versioning is on",))
    assert await unfit.problems() == ("versioning is on",)


async def test_readiness_does_not_wait_for_a_store_that_hangs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(readiness, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(service.metadata, "ping", hangs)
    [problem] = await readiness.Readiness(service.blobs, service.metadata).problems()
    assert problem.startswith("metadata store: no answer")


async def test_readiness_is_looked_up_once_for_many(service: Service) -> None:
    asked = 0

    class Counting:
        async def ping(self) -> None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)

    counting: Any = Counting()
    ready = readiness.Readiness(counting, service.metadata)
    await asyncio.gather(*(ready.problems() for _ in range(20)))
    assert asked == 1


async def test_draining_is_not_ready(service: Service) -> None:
    service.app[READINESS].draining = True
    async with service.fetch("GET", "/readyz") as response:
        assert response.status == 503
        assert "draining" in (await response.json())["problems"][0]
    async with service.fetch("GET", "/healthz") as response:
        assert response.status == 200


async def test_requests_are_counted_by_route_and_never_by_name(service: Service) -> None:
    for path in ("/v1/buckets/some-name", "/none/some-name"):
        async with service.fetch("GET", path) as response:
            assert response.status == 404
    async with service.fetch("PROPFIND", "/v1/buckets") as response:
        assert response.status == 405
    async with service.fetch("GET", "/metrics") as response:
        text = await response.text()
    assert 'requests_total{method="GET",route="/v1/buckets/{bucket}",status="404"} 1.0' in text
    assert 'requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'method="OTHER"' in text
    assert "some-name" not in text
    assert "PROPFIND" not in text


async def shown(start: Start, headers: dict[str, str], **http: Any) -> tuple[str, str]:
    async def show(request: web.Request) -> web.Response:
        return web.json_response([absolute_url(request, "/x"), client_address(request)])

    async with start(Route("GET", "/show", show, None), http=Http(**http)) as service:
        response = await service.fetch("GET", "/show", headers=headers)
        url, address = await response.json()
        return url.replace(str(service.port), "PORT"), address


FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "files.example",
    "X-Forwarded-For": "198.51.100.9, 203.0.113.7",
}


async def test_urls_follow_the_host_field(start: Start) -> None:
    assert await shown(start, FORWARDED) == ("http://127.0.0.1:PORT/x", "127.0.0.1")
    assert (await shown(start, {"Host": "a.example:8443"}))[0] == "http://a.example:8443/x"


async def test_a_trusted_proxy_is_believed(start: Start) -> None:
    url, address = await shown(start, FORWARDED, trusted_proxies=("127.0.0.0/8",))
    assert (url, address) == ("https://files.example/x", "203.0.113.7")
    chain = ("127.0.0.0/8", "203.0.113.7")
    assert (await shown(start, FORWARDED, trusted_proxies=chain))[1] == "198.51.100.9"


async def test_the_public_url_decides_over_all(start: Start) -> None:
    url, _ = await shown(
        start, FORWARDED, trusted_proxies=("127.0.0.1",), public_url="https://cdn.example/m/"
    )
    assert url == "https://cdn.example/m/x"


async def test_a_host_that_is_none_never_gets_into_a_url(service: Service) -> None:
    async with service.fetch("PUT", "/v1/buckets/films", headers={"Host": 'a"/evil'}) as response:
        assert response.status == 400


def test_object_paths_are_encoded_once() -> None:
    assert object_path("films", "a b/ü%2f?#.mp4") == (
        "/v1/buckets/films/objects/a%20b/%C3%BC%252f%3F%23.mp4"
    )
