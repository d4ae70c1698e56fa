"""Presigned URLs, under which the store itself answers a client.

The signature covers the host and every `response-*` parameter, so neither the address nor what the
store says of the bytes can be changed by whoever holds the URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.model.blob import LinkFields


async def presigned(client: Any, place: Mapping[str, str], fields: LinkFields, ttl_s: int) -> str:
    """client: one whose endpoint is the public one. place: Bucket and Key."""
    said = {
        "ResponseContentType": fields.content_type,
        "ResponseContentDisposition": fields.content_disposition,
        "ResponseCacheControl": fields.cache_control,
        "ResponseContentEncoding": fields.content_encoding,
        "ResponseContentLanguage": fields.content_language,
    }
    parameters = {**place, **{name: value for name, value in said.items() if value}}
    url: str = await client.generate_presigned_url(
        "get_object", Params=parameters, ExpiresIn=ttl_s, HttpMethod="GET"
    )
    return url
