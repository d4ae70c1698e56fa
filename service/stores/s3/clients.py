"""The S3 clients of a process: one session, three connection pools, and a signer.

    reads    GetObject. A slow reader holds its connection for as long as it likes, so readers have
             a pool of their own (`s3.max_downloads`) and cannot starve anybody else.
    writes   PutObject, UploadPart and every short idempotent call.
    once     CreateMultipartUpload and CompleteMultipartUpload: one attempt, no replay, because a
             second Create makes a second multipart, and a second Complete meets NoSuchUpload on
             MinIO, which would hide that the first succeeded.
    links    signs URLs for the public endpoint and sends nothing.

PutObject may be replayed: blob keys are random and never used twice, so the same bytes under the
same key are all that a replay can leave; a late one that arrives after an undo is found by the
tombstone's second look.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from service.settings import S3


@dataclass(frozen=True, slots=True)
class Clients:
    reads: Any
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

        async def client(
            attempts: int,
            connections: int = settings.max_connections,
            endpoint: str = settings.endpoint,
        ) -> Any:
            return await stack.enter_async_context(
                session.create_client(
                    "s3",
                    endpoint_url=endpoint,
                    region_name=settings.region,
                    aws_access_key_id=settings.access_key,
                    aws_secret_access_key=settings.secret_key.get_secret_value(),
                    config=_config(settings, attempts, connections),
                )
            )

        reads, writes, once, links = (
            await client(3, settings.max_downloads),
            await client(3),
            await client(1),
            await client(1, endpoint=settings.public_endpoint or settings.endpoint),
        )
        return Clients(reads, writes, once, links, stack.pop_all())


def _config(settings: S3, attempts: int, connections: int) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",
        max_pool_connections=connections,
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.request_timeout_s,
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        # Newer defaults send trailing checksums that older stores refuse; ours are explicit.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": attempts},
        warm_up_loader_caches=True,
    )
