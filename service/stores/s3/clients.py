"""The S3 clients of a process, each with a connection pool of its own.

    downloads  GetObject by presigned URLs, aiohttp's own client. A slow reader holds its connection
               for as long as it likes, so readers have a pool of their own (`s3.max_downloads`) and
               cannot starve anybody else.
    writes     PutObject, UploadPart and every short idempotent call; signs the URLs.
    once       CreateMultipartUpload and CompleteMultipartUpload: one attempt, no replay, because a
               second Create makes a second multipart, and a second Complete meets NoSuchUpload on
               MinIO, which would hide that the first succeeded.
    links      signs URLs for the public endpoint and sends nothing.

PutObject may be replayed: blob keys are random and never used twice, so the same bytes under the
same key are all that a replay can leave; a late one that arrives after an undo is found by the
tombstone's second look.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from service.settings import KIB, S3

ATTEMPTS = 3
_KEEPALIVE_S = 12.0
"""aiobotocore's: AWS closes what was idle for 20 s."""
_READ_BYTES = 64 * KIB
"""What aiohttp keeps for a reader who is slow (twice that, and what one look at the socket brings);
256 KiB made no download faster beyond noise, and half a gigabyte of 500 such readers."""


@dataclass(frozen=True, slots=True)
class Clients:
    downloads: ClientSession
    writes: Any
    once: Any
    links: Any
    stack: AsyncExitStack

    async def close(self) -> None:
        await self.stack.aclose()


async def open_clients(settings: S3) -> Clients:
    """Make the clients; nothing is sent yet."""
    session = get_session()
    async with AsyncExitStack() as stack:

        async def client(attempts: int, endpoint: str = settings.endpoint) -> Any:
            return await stack.enter_async_context(
                session.create_client(
                    "s3",
                    endpoint_url=endpoint,
                    region_name=settings.region,
                    aws_access_key_id=settings.access_key,
                    aws_secret_access_key=settings.secret_key.get_secret_value(),
                    config=client_config(settings, attempts),
                )
            )

        writes, once = await client(ATTEMPTS), await client(1)
        links = await client(1, settings.public_endpoint or settings.endpoint)
        ca_bundle = session.get_config_variable("ca_bundle")
        downloads = await stack.enter_async_context(await _open_downloads(settings, ca_bundle))
        return Clients(downloads, writes, once, links, stack.pop_all())


async def _open_downloads(settings: S3, ca_bundle: str | None) -> ClientSession:
    """Set as aiobotocore sets its own: certificates, proxies and environment count alike."""
    scheme = urlsplit(settings.endpoint).scheme
    verified = await asyncio.to_thread(_tls_context, ca_bundle) if scheme == "https" else True
    return ClientSession(
        connector=TCPConnector(
            limit=settings.max_downloads, keepalive_timeout=_KEEPALIVE_S, ssl=verified
        ),
        timeout=ClientTimeout(
            sock_connect=settings.connect_timeout_s, sock_read=settings.request_timeout_s
        ),
        headers={hdrs.ACCEPT_ENCODING: "identity"},
        proxy=get_environ_proxies(settings.endpoint).get(scheme),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_BYTES,
    )


def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """ca_bundle: what AWS_CA_BUNDLE or a profile names."""
    verify = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True
    return ssl.create_default_context(cafile=get_cert_path(verify))


def client_config(settings: S3, attempts: int) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",
        max_pool_connections=settings.max_connections,
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.request_timeout_s,
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        # Newer defaults send trailing checksums that older stores refuse; ours are explicit.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": attempts},
        warm_up_loader_caches=True,
    )
