"""Timers, caps, the parser, and the end of the service."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientConnectionError, ClientSession, web
from structlog.testing import capture_logs

from service.app import Opener, build_app
from service.settings import Http, Limits, Settings
from service.usecases.grace import Grace
from service.usecases.runtime import Runtime
from service.web import server
from service.web.route import Route
from service.web.state import READINESS
from tests.web.serving import ROOT_KEY, Service, Start, exchange, make_settings

HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


async def seconds_until_closed(port: int, *sent: bytes, every_s: float = 0.0) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    try:
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(every_s)
        await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [(), (HEAD,), tuple(HEAD[i : i + 1] for i in range(20))])
async def test_a_head_that_is_not_complete_in_time_is_cut_off(
    start: Start, sent: tuple[bytes, ...]
) -> None:
    async with start(http=Http(header_timeout_s=0.3)) as service:
        took = await seconds_until_closed(service.port, *sent, every_s=0.05)
        assert 0.25 <= took < 2
        assert 'refused_total{reason="slow_head"} 1.0' in service.runtime.metrics.render().decode()


async def test_a_slow_second_head_is_cut_off_too(start: Start) -> None:
    async with start(http=Http(header_timeout_s=0.3)) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"}")
        await asyncio.sleep(0.4)  # idle between requests: that is keep-alive's timer
        writer.write(HEAD)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()


async def test_a_slow_body_is_not_taken_for_a_slow_head(start: Start) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with start(
        Route("POST", "/echo", read, None), http=Http(header_timeout_s=0.2)
    ) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        for letter in b"slow":
            await asyncio.sleep(0.15)
            writer.write(bytes([letter]))
        assert (await asyncio.wait_for(reader.readuntil(b"slow"), 2)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_connections_beyond_the_cap_are_refused_and_room_comes_back(start: Start) -> None:
    async with start(limits=Limits(max_connections=2)) as service:
        open_ones = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await seconds_until_closed(service.port) < 1
        for _, writer in open_ones:
            writer.close()
        await asyncio.sleep(0.1)
        async with service.fetch("GET", "/healthz") as response:
            assert response.status == 200


async def test_a_header_beyond_the_limit_is_400(start: Start) -> None:
    async with start(limits=Limits(max_header_bytes=1024)) as service:
        answer = await exchange(service.port, HEAD + b"X: " + b"x" * 3000 + b"\r\n\r\n")
        assert b" 400 " in answer.split(b"\r\n")[0]
        assert b"application/problem+json" in answer


async def test_a_lost_client_cancels_its_handler_at_once(start: Start) -> None:
    cancelled = asyncio.Event()
    reached = asyncio.Event()

    async def waits(request: web.Request) -> web.Response:
        reached.set()
        try:
            await request.read()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return web.Response()

    async with start(Route("POST", "/waits", waits, None)) as service:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        await reached.wait()
        writer.close()
        await asyncio.wait_for(cancelled.wait(), 1)


async def test_a_loop_that_stands_still_was_late_for_all_that_was_due(start: Start) -> None:
    async def blocks(_: web.Request) -> web.Response:
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            pass
        return web.Response()

    async def waited_over(seconds: str) -> int:
        async with service.fetch("GET", "/metrics") as response:
            text = await response.text()
        name = "mediagate_event_loop_lag_seconds_bucket"
        waited = dict(re.findall(rf'^{name}{{le="(.+)"}} (\d+)', text, re.MULTILINE))
        return int(waited["+Inf"]) - int(waited[seconds])

    async with start(Route("GET", "/blocks", blocks, None)) as service:
        await asyncio.sleep(0.2)
        before = await waited_over("0.1"), await waited_over("0.5")
        async with service.fetch("GET", "/blocks"):
            pass
        await asyncio.sleep(0.1)
        assert await waited_over("0.1") >= before[0] + 9
        assert await waited_over("0.5") >= before[1] + 1


async def test_bodies_are_not_decompressed(start: Start) -> None:
    async def size(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async with start(Route("POST", "/size", size, None)) as service:
        body = gzip.compress(b"x" * 100_000)
        headers = {"Content-Encoding": "gzip"}
        async with service.fetch("POST", "/size", data=body, headers=headers) as response:
            assert await response.text() == str(len(body))


async def test_the_continue_is_left_to_who_reads_the_body(service: Service) -> None:
    answer = await exchange(
        service.port,
        b"PUT /v1/buckets/films HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}",
    )
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in answer


async def test_a_refusal_before_the_continue_ends_the_connection(service: Service) -> None:
    began = time.monotonic()
    answer = await exchange(
        service.port,
        b"PUT /v1/buckets/films HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\n\r\n",
        end=True,
    )
    assert b"\r\nConnection: close\r\n" in answer
    assert time.monotonic() - began < 2


async def test_the_continue_comes_when_the_body_is_wanted(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        b"PUT /v1/buckets/films HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Authorization: Bearer " + ROOT_KEY.encode() + b"\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert b"Connection: close" not in head
    writer.close()


async def test_http_1_1_without_a_host_is_400(service: Service) -> None:
    answer = await exchange(service.port, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_client_that_leaves_a_download_is_no_failure_of_ours(start: Start) -> None:
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            ended.set()

    with capture_logs() as logs:
        async with start(Route("GET", "/endless", endless, None)) as service:
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.sleep(0.1)
            writer.close()
            await asyncio.wait_for(ended.wait(), 2)
            await asyncio.sleep(0.05)
    assert [event["status"] for event in logs if event["event"] == "request"] == [499]
    assert "request_failed" not in str(logs)


def test_the_c_parser_is_there() -> None:
    server.require_c_parser()


def test_without_the_c_parser_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = server.http_parser
    monkeypatch.setattr(parser, "HttpRequestParser", parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C parser"):
        server.require_c_parser()


async def test_sigterm_lets_a_request_end_and_refuses_new_ones(start: Start) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def waits(request: web.Request) -> web.Response:
        reached.set()
        await go_on.wait()
        return web.Response(text="done")

    settings = make_settings(http=Http(port=0, shutdown_grace_s=2))
    async with start() as other:
        opener = stores_of(other)
        app = build_app(settings, opener, (Route("GET", "/waits", waits, None),))
        urls: asyncio.Queue[str] = asyncio.Queue()
        serving = asyncio.create_task(server.serve(app, settings, ready=urls.put_nowait))
        url = await urls.get()
        async with ClientSession() as session:
            request = asyncio.create_task(session.get(url + "/waits"))
            await reached.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
            assert app[READINESS].draining
            await asyncio.sleep(0.4)
            async with ClientSession() as late:
                with pytest.raises(ClientConnectionError):
                    await late.get(url + "/waits")
            go_on.set()
            async with await request as response:
                assert await response.text() == "done"
        await asyncio.wait_for(serving, 5)


async def test_the_end_comes_within_the_grace_whatever_runs(start: Start) -> None:
    """The notice, what requests get, and what their undos get are shares of one deadline."""
    reached = asyncio.Event()

    async def never_ends(_: web.Request) -> web.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    settings = make_settings(http=Http(port=0, shutdown_grace_s=2))
    async with start() as other:
        routes = (Route("GET", "/waits", never_ends, None),)
        app = build_app(settings, stores_of(other), routes)
        urls: asyncio.Queue[str] = asyncio.Queue()
        serving = asyncio.create_task(server.serve(app, settings, ready=urls.put_nowait))
        url = await urls.get()
        async with ClientSession() as session:
            request = asyncio.create_task(session.get(url + "/waits"))
            await reached.wait()
            began = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
            assert 1.2 < time.monotonic() - began < 2
            with pytest.raises(ClientConnectionError):
                await request


async def test_a_worker_whose_farewell_hangs_is_cut_off_within_the_grace(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    settings = make_settings(http=Http(port=0, shutdown_grace_s=1))
    async with start() as other:
        monkeypatch.setattr(other.metadata.leases, "release", hangs)
        app = build_app(settings, stores_of(other), ())
        urls: asyncio.Queue[str] = asyncio.Queue()
        serving = asyncio.create_task(server.serve(app, settings, ready=urls.put_nowait))
        await urls.get()
        began = time.monotonic()
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(serving, 5)
        assert time.monotonic() - began < 1
    cut_off = {log["worker"] for log in logs if log["event"] == "worker_cut_off"}
    assert cut_off == {"run_auditor", "run_scrubber"}


async def test_the_end_does_not_wait_for_stores_that_do_not_answer_at_the_start() -> None:
    opening, closed = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opener(_: Settings) -> AsyncIterator[Runtime]:
        opening.set()
        try:
            await asyncio.Event().wait()
            raise AssertionError
            yield
        finally:
            closed.set()

    settings = make_settings(http=Http(port=0, shutdown_grace_s=2))
    told: list[str] = []
    app = build_app(settings, opener, ())
    serving = asyncio.create_task(server.serve(app, settings, ready=told.append))
    await opening.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.wait_for(asyncio.shield(serving), 2)
    finally:
        serving.cancel()
    assert closed.is_set()
    assert told == []


def stores_of(service: Service) -> Opener:
    @asynccontextmanager
    async def opener(settings: Settings) -> AsyncIterator[Runtime]:
        yield replace(service.runtime, grace=Grace(settings.http.shutdown_grace_s))

    return opener
