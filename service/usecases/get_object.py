"""GET: one read of the version from the primary, then its blob.

A blob is immutable, so a store that breaks in mid-stream is resumed by range on the same bytes; a
reader gets exactly one version or an error, never a mixture and never a short body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from service.errors import BlobMissing, BucketNotFound, ObjectNotFound, StoreUnavailable
from service.model.blob import LinkFields
from service.model.bucket import Bucket
from service.model.ids import TenantId, VersionId
from service.model.version import Version
from service.usecases.runtime import Runtime

RESUMES = 5
"""How often in a row a broken read is taken up again without a byte in between."""
_PAUSE_S = 0.2
log = structlog.get_logger()


async def find_version(
    runtime: Runtime, tenant: TenantId, bucket: str, key: str, version: VersionId | None = None
) -> tuple[Bucket, Version]:
    """The latest version of a key, or the one that is named; the bucket as of a second ago.

    Raises BucketNotFound, ObjectNotFound.
    """
    buckets = runtime.bucket_cache
    known = buckets.known(tenant, bucket)
    found = known or await buckets.fresh(tenant, bucket)
    latest = await _look_up(runtime, found, key, version)
    if latest is None and known is not None:
        found = await buckets.fresh(tenant, bucket)
        if found is not None and found.id != known.id:
            latest = await _look_up(runtime, found, key, version)
    if found is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    if latest is None:
        raise ObjectNotFound(f"there is no object {key!r} in bucket {bucket!r}")
    return found, latest


async def _look_up(
    runtime: Runtime, bucket: Bucket | None, key: str, version: VersionId | None
) -> Version | None:
    if bucket is None:
        return None
    versions = runtime.metadata.versions
    if version is None:
        return await versions.get_latest(bucket.tenant, bucket.id, key)
    return await versions.get(bucket.tenant, bucket.id, key, version)


@asynccontextmanager
async def read_version(
    runtime: Runtime, version: Version, start: int, end: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Bytes [start, end) of a version, end > start, exactly that many or an error.

    A version that is marked as damaged is read as it is; its digests tell the reader.

    Entering raises BlobMissing where the blob is gone: the caller reads the version once more. The
    iterator raises StoreUnavailable when the store does not come back.
    """
    _warn_of_damage(version)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(runtime.blobs.read(version.blob_key, start, end))
        yield _resumed(runtime, version, start, end, first, stack)


async def link_version(runtime: Runtime, version: Version, fields: LinkFields) -> str:
    """A URL of the store that gives the bytes of this version, for `s3.presign_ttl_s`.

    Whether the blob is there is not asked: a version that was just read keeps it for the sweeper's
    grace, which is longer.
    """
    _warn_of_damage(version)
    return await runtime.blobs.link(version.blob_key, fields, runtime.settings.s3.presign_ttl_s)


def _warn_of_damage(version: Version) -> None:
    if version.damaged_at is not None:
        log.warning("damaged_version_read", version=version.id, damaged_at=str(version.damaged_at))


async def _resumed(
    runtime: Runtime,
    version: Version,
    start: int,
    end: int,
    chunks: AsyncIterator[bytes],
    stack: AsyncExitStack,
) -> AsyncIterator[bytes]:
    """`stack` holds the connection in use and is emptied before another one is opened."""
    position, failures = start, 0
    while True:
        try:
            async for chunk in chunks:
                position += len(chunk)
                failures = 0
                yield chunk
        except StoreUnavailable as error:
            failures += 1
            if failures > RESUMES:
                raise
            log.info("read_resumed", version=version.id, position=position, reason=error.code)
        if position >= end:
            return
        await stack.aclose()
        chunks = await _reopened(runtime, version, position, end, stack, failures)


async def _reopened(
    runtime: Runtime,
    version: Version,
    position: int,
    end: int,
    stack: AsyncExitStack,
    failures: int,
) -> AsyncIterator[bytes]:
    """Open the rest again, with growing pauses; gives up after RESUMES attempts."""
    for attempt in range(failures, RESUMES + 1):
        await asyncio.sleep(_PAUSE_S * attempt)
        try:
            return await stack.enter_async_context(
                runtime.blobs.read(version.blob_key, position, end)
            )
        except BlobMissing as error:
            raise StoreUnavailable("the bytes went away in mid-stream") from error
        except StoreUnavailable:
            if attempt == RESUMES:
                raise
    raise StoreUnavailable("the store does not come back")
