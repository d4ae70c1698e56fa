"""Redirects: a download that the store answers itself, under a presigned URL.

Everything is judged here first, so the store is only asked for bytes that are due. A client repeats
its header fields at the target, where the store would judge conditions once more by an entity tag
and a date of its own, and knows less of ranges than we do. So what carries such a field is
delivered by this service, like a HEAD: the URL is signed for GET alone.
"""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from service.model.blob import LinkFields
from service.model.bucket import Bucket
from service.model.version import Version
from service.usecases.deliveries import redirects
from service.usecases.get_object import link_version
from service.usecases.runtime import Runtime
from service.web.delivery import Plan

_JUDGED_AGAIN = (
    hdrs.IF_MATCH,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_UNMODIFIED_SINCE,
    hdrs.IF_RANGE,
)
"""Not If-None-Match: whatever tags it names, none is the store's, and `*` got its 304 here."""
_PLAIN_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
_TOLD_BY_THE_STORE = frozenset(
    {
        hdrs.ACCEPT_RANGES,
        hdrs.CACHE_CONTROL,
        hdrs.CONTENT_DISPOSITION,
        hdrs.CONTENT_ENCODING,
        hdrs.CONTENT_LANGUAGE,
        hdrs.CONTENT_RANGE,
        hdrs.CONTENT_TYPE,
    }
)


def may_redirect(request: web.Request, runtime: Runtime, bucket: Bucket, plan: Plan) -> bool:
    """Whether the store would answer this request as it is planned."""
    if request.method != hdrs.METH_GET or not plan.spans or not redirects(runtime, bucket):
        return False
    if any(name in request.headers for name in _JUDGED_AGAIN):
        return False
    if hdrs.RANGE not in request.headers:
        return True
    ranges = request.headers.getall(hdrs.RANGE)
    return len(ranges) == 1 and plan.status == 206 and bool(_PLAIN_RANGE.fullmatch(ranges[0]))


async def redirect(runtime: Runtime, version: Version, plan: Plan) -> web.Response:
    """307, with what the store cannot tell: the entity tag, the digests, the metadata."""
    fields = LinkFields(
        content_type=plan.headers[hdrs.CONTENT_TYPE],
        content_disposition=plan.headers[hdrs.CONTENT_DISPOSITION],
        cache_control=plan.headers[hdrs.CACHE_CONTROL],
        content_encoding=plan.headers.get(hdrs.CONTENT_ENCODING),
        content_language=plan.headers.get(hdrs.CONTENT_LANGUAGE),
    )
    told = {name: value for name, value in plan.headers.items() if name not in _TOLD_BY_THE_STORE}
    return web.Response(
        status=307,
        headers={
            **told,
            hdrs.LOCATION: await link_version(runtime, version, fields),
            # The URL is a secret that ends soon: nobody may keep it.
            hdrs.CACHE_CONTROL: "private, no-store",
        },
    )
