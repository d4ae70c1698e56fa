"""`GET` and `HEAD /v1/buckets/{bucket}/metadata/{key}[?version=]`: the facts of a version."""

from __future__ import annotations

from aiohttp import hdrs, web

from service.errors import BucketNotFound, ObjectNotFound, PreconditionFailed
from service.protocol.conditionals import (
    ReadOutcome,
    evaluate_read,
    format_etag,
    parse_preconditions,
)
from service.protocol.http_dates import format_http_date
from service.usecases.get_object import find_version
from service.web.delivery import precondition_failed
from service.web.describe import Reply, describe
from service.web.downloads import VersionQuery, named_version
from service.web.fields import CACHE_CONTROL, ETAG, LAST_MODIFIED, READ_CONDITIONS
from service.web.json import answer
from service.web.query import query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.version_answer import VersionAnswer, shown


@describe(
    "The facts of an object.",
    query=VersionQuery,
    headers=READ_CONDITIONS,
    answers={
        200: Reply(VersionAnswer, ETAG, CACHE_CONTROL, LAST_MODIFIED),
        304: Reply(None, ETAG, CACHE_CONTROL, says="What the client has is still good."),
    },
    problems=(BucketNotFound, ObjectNotFound, PreconditionFailed),
)
async def get_metadata(request: web.Request) -> web.Response:
    """Its entity tag changes with the content and with every change of the facts."""
    target = request[TARGET]
    _, version = await find_version(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        target.bucket,
        target.key,
        named_version(query_of(request, VersionQuery)),
    )
    headers: dict[str, str] = {
        hdrs.ETAG: format_etag(version.metadata_etag),
        hdrs.CACHE_CONTROL: "private, no-cache",
    }
    conditions = parse_preconditions(request.headers)
    outcome = evaluate_read(conditions, version.metadata_etag, version.modified_at)
    if outcome is ReadOutcome.FAILED:
        raise precondition_failed(conditions)
    if outcome is ReadOutcome.NOT_MODIFIED:
        return web.Response(status=304, headers=headers)
    headers[hdrs.LAST_MODIFIED] = format_http_date(version.modified_at)
    return answer(shown(target.bucket, version), headers=headers)
