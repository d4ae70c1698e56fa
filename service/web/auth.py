"""The gate in front of every handler of the table."""

from __future__ import annotations

import structlog
from aiohttp import hdrs, web

from service.errors import Unauthenticated
from service.model.api_key import Principal
from service.protocol.api_tokens import parse_bearer
from service.web.state import AUTHENTICATOR, PRINCIPAL


async def authenticated(request: web.Request) -> Principal:
    """The principal of the request's key, noted in the request. Raises Unauthenticated."""
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    token = parse_bearer(headers[0]) if len(headers) == 1 else None
    if token is None:
        raise Unauthenticated("send `Authorization: Bearer mg_…`")
    principal = await request.config_dict[AUTHENTICATOR].authenticate(token)
    request[PRINCIPAL] = principal
    structlog.contextvars.bind_contextvars(tenant=principal.tenant, principal=principal.id)
    return principal
