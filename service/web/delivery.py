"""Delivery: a version becomes a response. First the plan, from headers alone; then the bytes.

Nothing is sent before the store has answered for the first byte, so everything that can be told as
a problem is. After that a failure cuts the connection (`middleware`): a body never ends short and
clean. Source: RFC 9110 §13.2.2, §14, §15.3.7.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from service.errors import PreconditionFailed, SlowClient, StoreUnavailable
from service.model.bucket import Bucket
from service.model.preconditions import Preconditions
from service.model.version import Version
from service.protocol.byte_ranges import (
    ByteRange,
    MultipartFraming,
    content_range,
    frame,
    parse_range,
)
from service.protocol.conditionals import (
    ReadOutcome,
    evaluate_read,
    parse_if_range,
    parse_preconditions,
)
from service.protocol.headers import combined
from service.usecases.get_object import VersionBody, read_version
from service.usecases.runtime import Runtime
from service.web.client_pace import ClientPace
from service.web.representation import representation, validators
from service.web.splice import LEAST_BYTES, splicer_for

_WRITE_BYTES = 256 << 10
"""What aiohttp may hold of one chunk for a slow client."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A response but for its bytes. spans: what to read from the blob, in this order."""

    status: int
    headers: dict[str, str]
    spans: tuple[ByteRange, ...] = ()
    framing: MultipartFraming | None = None
    content_length: int = field(default=0)


def plan_delivery(
    request: web.Request,
    bucket: Bucket,
    version: Version,
    *,
    pinned: bool,
    download_as: str | None,
) -> Plan:
    """Raises PreconditionFailed, RangeNotSatisfiable, Invalid (a malformed list of entity tags)."""
    conditions = parse_preconditions(request.headers)
    outcome = evaluate_read(conditions, version.etag, version.modified_at)
    if outcome is ReadOutcome.FAILED:
        raise precondition_failed(conditions)
    if outcome is ReadOutcome.NOT_MODIFIED:
        return Plan(304, validators(bucket, version, pinned=pinned))
    headers = representation(bucket, version, pinned=pinned, download_as=download_as)
    content_type, size_bytes = version.facts.content_type, version.size_bytes
    spans = _wanted_ranges(request, version)
    if spans is None:
        headers[hdrs.CONTENT_TYPE] = content_type
        whole = (ByteRange(0, size_bytes),) if size_bytes else ()
        return Plan(200, headers, whole, content_length=size_bytes)
    if len(spans) == 1:
        headers[hdrs.CONTENT_TYPE] = content_type
        headers[hdrs.CONTENT_RANGE] = content_range(spans[0], size_bytes)
        return Plan(206, headers, spans, content_length=spans[0].size_bytes)
    framing = frame(spans, size_bytes, content_type, secrets.token_hex(16))
    headers[hdrs.CONTENT_TYPE] = framing.content_type
    return Plan(206, headers, spans, framing, framing.content_length)


def precondition_failed(conditions: Preconditions) -> PreconditionFailed:
    """Names the condition that a read failed by."""
    name = "If-Match" if conditions.if_match is not None else "If-Unmodified-Since"
    return PreconditionFailed(f"{name} does not hold", condition=name.lower())


def _wanted_ranges(request: web.Request, version: Version) -> tuple[ByteRange, ...] | None:
    """None for all of it. GET is the only method that ranges are defined for (RFC 9110 §14.2)."""
    if request.method != hdrs.METH_GET or hdrs.RANGE not in request.headers:
        return None
    condition = parse_if_range(request.headers)
    if condition is not None and not condition.holds(version.etag, version.modified_at):
        return None
    return parse_range(combined(request.headers, hdrs.RANGE), version.size_bytes)


async def deliver(
    request: web.Request, runtime: Runtime, version: Version, plan: Plan
) -> web.StreamResponse:
    """Send what was planned; a HEAD gets the head alone, and the store is not asked.

    Raises BlobMissing and StoreUnavailable before the first byte; later whatever happens, and the
    connection must be cut then. SlowClient: past `http.max_download_s`, or nothing read for
    `http.idle_timeout_s`.
    """
    response = web.StreamResponse(status=plan.status, headers=plan.headers)
    if plan.status != 304:
        response.content_length = plan.content_length
    if request.method == hdrs.METH_HEAD or not plan.spans:
        await response.prepare(request)
        await response.write_eof()
        return response
    settings = runtime.settings.http
    try:
        async with asyncio.timeout(settings.max_download_s):
            await _send(request, response, runtime, version, plan)
    except TimeoutError as error:
        raise SlowClient(f"the download took longer than {settings.max_download_s} s") from error
    return response


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    runtime: Runtime,
    version: Version,
    plan: Plan,
) -> None:
    pace = ClientPace(request, runtime.settings.http.idle_timeout_s)
    for number, span in enumerate(plan.spans):
        async with read_version(runtime, version, span.start, span.end) as body:
            if number == 0:
                await response.prepare(request)
            if plan.framing is not None:
                await pace.write(response, plan.framing.heads[number])
            if runtime.settings.http.splice and span.size_bytes > LEAST_BYTES:
                await _splice(request, response, runtime, body, pace)
            await _copy(response, body, pace)
            if body.position != span.end:
                raise StoreUnavailable(f"the store gave bytes up to {body.position}, not {span}")
    if plan.framing is not None:
        await pace.write(response, plan.framing.tail)
    await response.write_eof()


async def _splice(
    request: web.Request,
    response: web.StreamResponse,
    runtime: Runtime,
    body: VersionBody,
    pace: ClientPace,
) -> None:
    """As much of the body as the kernel can move by itself: all of it, or none."""
    splicer = splicer_for(request, response, pace, runtime.metrics)
    if splicer is not None:
        with splicer:
            await body.move(splicer.move)


async def _copy(response: web.StreamResponse, body: VersionBody, pace: ClientPace) -> None:
    async for chunk in body:
        view = memoryview(chunk)
        for start in range(0, len(chunk), _WRITE_BYTES):
            await pace.write(response, view[start : start + _WRITE_BYTES])
