"""Outside `/v1`, without a key: is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web

from service.telemetry.metrics import CONTENT_TYPE
from service.web.describe import Reply, describe
from service.web.json import Answer
from service.web.state import READINESS, runtime_of


class Health(Answer):
    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """problems: why it is not ready; only there where it is not."""

    status: Literal["ready", "not ready"]
    problems: tuple[str, ...] | None = None


@describe("Whether the process runs.", query=None, answers={200: Reply(Health)})
async def get_health(request: web.Request) -> web.Response:
    """The process answers; its stores are no matter here."""
    return _told(200, Health())


@describe(
    "Whether it takes requests.",
    query=None,
    answers={200: Reply(Readiness), 503: Reply(Readiness, says="Not ready.")},
)
async def get_readiness(request: web.Request) -> web.Response:
    """200, or 503 with the reasons."""
    problems = await request.config_dict[READINESS].problems()
    if problems:
        return _told(503, Readiness(status="not ready", problems=tuple(problems)))
    return _told(200, Readiness(status="ready"))


@describe(
    "Metrics in the text format of Prometheus.",
    query=None,
    answers={200: Reply("text/plain")},
)
async def get_metrics(request: web.Request) -> web.Response:
    """Of all workers where there are several, whichever of them answers."""
    body = await asyncio.to_thread(runtime_of(request).metrics.render)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _told(status: int, body: Answer) -> web.Response:
    return web.Response(
        status=status,
        body=body.model_dump_json(exclude_none=True).encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
