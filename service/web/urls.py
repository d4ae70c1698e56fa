"""Absolute URLs, and who the client is, behind whatever proxies there are.

`http.public_url` decides every URL where it is set. Otherwise the Host field does, and
`X-Forwarded-Proto`, `-Host` and `-For` count only from a peer in `http.trusted_proxies`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import quote

from aiohttp import web

from service.errors import Invalid
from service.settings import Http
from service.web.state import runtime_of

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PATH_SAFE = "/!$&'()*+,;=:@~"


def absolute_url(request: web.Request, path: str) -> str:
    """path: from the root, already percent-encoded, with its query. Raises Invalid (Host)."""
    settings = _http(request)
    if settings.public_url:
        return settings.public_url.rstrip("/") + path
    scheme, host = request.scheme, request.host
    if _from_trusted_proxy(request):
        forwarded = _last(request, "X-Forwarded-Proto").lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
        host = _last(request, "X-Forwarded-Host") or host
    if not _HOST.fullmatch(host):
        raise Invalid("the Host field is no host", field="Host")
    return f"{scheme}://{host}{path}"


def object_path(bucket: str, key: str) -> str:
    return f"/v1/buckets/{bucket}/objects/{quote(key, safe=_PATH_SAFE)}"


def next_page_url(request: web.Request, cursor: str) -> str:
    """This request's URL with another cursor."""
    query = request.rel_url.update_query(cursor=cursor).raw_query_string
    return absolute_url(request, f"{request.rel_url.raw_path}?{query}")


def client_address(request: web.Request) -> str:
    """The peer, or whom the trusted proxies in front of us got the request from."""
    peer = request.remote or ""
    if not _from_trusted_proxy(request):
        return peer
    trusted = _networks(_http(request).trusted_proxies)
    hops = [hop.strip() for hop in ",".join(_all(request, "X-Forwarded-For")).split(",")]
    for hop in reversed(hops):
        if not _is_address(hop):
            break
        peer = hop
        if not _within(hop, trusted):
            break
    return peer


def _http(request: web.Request) -> Http:
    return runtime_of(request).settings.http


def _from_trusted_proxy(request: web.Request) -> bool:
    networks = _networks(_http(request).trusted_proxies)
    return bool(networks) and _within(request.remote or "", networks)


def _all(request: web.Request, name: str) -> list[str]:
    return list(request.headers.getall(name, []))


def _last(request: web.Request, name: str) -> str:
    """What the nearest proxy said: it appends, and only it is trusted."""
    return ",".join(_all(request, name)).rpartition(",")[2].strip()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


@lru_cache(maxsize=8)
def _networks(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name, strict=False) for name in names)
