"""Outside `/v1`, without a key: is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from service.telemetry.metrics import CONTENT_TYPE
from service.web.state import READINESS, runtime_of


async def get_health(request: web.Request) -> web.Response:
    """The process answers; its stores are no matter here."""
    return _told(200, {"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """200, or 503 with the reasons."""
    problems = await request.config_dict[READINESS].problems()
    if problems:
        return _told(503, {"status": "not ready", "problems": problems})
    return _told(200, {"status": "ready"})


async def get_metrics(request: web.Request) -> web.Response:
    """Of all workers where there are several, whichever of them answers."""
    body = await asyncio.to_thread(runtime_of(request).metrics.render)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _told(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
