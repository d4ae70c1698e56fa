"""What handlers find in the application and in the request, typed."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from service.model.api_key import Principal
from service.model.blob import StoreAbilities
from service.usecases.authenticate import Authenticator
from service.usecases.readiness import Readiness
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Target:
    """Names in the request's path, decoded and valid; "" where the route has none.

    id: what stands for `{id}`, as it came.
    """

    bucket: str = ""
    key: str = ""
    id: str = ""


RUNTIME = web.AppKey("runtime", Runtime)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
ABILITIES = web.AppKey("abilities", StoreAbilities)
READINESS = web.AppKey("readiness", Readiness)

REQUEST_ID = web.RequestKey("request_id", str)
PRINCIPAL = web.RequestKey("principal", Principal)
TARGET = web.RequestKey("target", Target)
QUERY = web.RequestKey("query", BaseModel)
"""As the route's model has it; read it with `query.query_of`."""
STARTED = web.RequestKey("started", bool)
"""Set once the head of a response was sent: no problem can be told any more."""


def runtime_of(request: web.Request) -> Runtime:
    return request.config_dict[RUNTIME]
