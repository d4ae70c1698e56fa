"""Objects put past HTTP, and clients that start without a connection."""

from __future__ import annotations

from service.client import AsyncMediagate, Timeouts
from service.model.ids import DEFAULT_TENANT
from service.model.version import ObjectFacts, Version
from service.usecases.put_object import PutRequest, put_object
from tests.client.breaking_proxy import Proxy
from tests.web.serving import ROOT_KEY, Service


async def store(service: Service, data: bytes, key: str = "a", **facts: object) -> Version:
    async def body():
        if data:
            yield data

    request = PutRequest(DEFAULT_TENANT, "films", key, ObjectFacts(**facts))
    return (await put_object(service.runtime, request, body())).version


def fresh_client(proxy: Proxy, **timeouts: float) -> AsyncMediagate:
    """A client without a connection, so that the next cut meets it."""
    limits = {"connect_s": 2, "idle_s": 2, "request_s": 5, "patience_s": 5} | timeouts
    return AsyncMediagate(proxy.url, ROOT_KEY, timeouts=Timeouts(**limits))
