"""GET: one read of the version from the primary, then its blob.

A blob is immutable, so a store that breaks in mid-stream is resumed by range on the same bytes; a
reader gets exactly one version or an error, never a mixture and never a short body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing

import structlog

from service.errors import BlobMissing, BucketNotFound, ObjectNotFound, StoreUnavailable
from service.model.blob import LinkFields
from service.model.bucket import Bucket
from service.model.ids import TenantId, VersionId
from service.model.version import DeleteMarker, Version
from service.stores.blob_port import Detachable, RawBody
from service.usecases.runtime import Runtime

RESUMES = 5
"""How often in a row a broken read is taken up again without a byte in between."""
_PAUSE_S = 0.2
log = structlog.get_logger()

Mover = Callable[[RawBody, Callable[[int], None]], Awaitable[None]]


async def find_version(
    runtime: Runtime, tenant: TenantId, bucket: str, key: str, version: VersionId | None = None
) -> tuple[Bucket, Version]:
    """The latest version of a key, or the one that is named; the bucket as of a second ago.

    Raises BucketNotFound, ObjectNotFound (with `delete_marker` where one hides what was kept).
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
        hidden = version is None and await _is_hidden(runtime, found, key)
        marks = {"delete_marker": True} if hidden else {}
        raise ObjectNotFound(f"there is no object {key!r} in bucket {bucket!r}", **marks)
    return found, latest


async def _is_hidden(runtime: Runtime, bucket: Bucket, key: str) -> bool:
    """Whether it is a delete marker for which the key names nothing."""
    if not bucket.has_kept:
        return False
    youngest = await runtime.metadata.versions.history(
        bucket.tenant, bucket.id, key, before_seq=None, limit=1
    )
    return bool(youngest) and isinstance(youngest[0], DeleteMarker)


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
) -> AsyncIterator[VersionBody]:
    """Bytes [start, end) of a version, end > start, exactly that many or an error.

    A version that is marked as damaged is read as it is; its digests tell the reader.

    Entering raises BlobMissing where the blob is gone: the caller reads the version once more. The
    body raises StoreUnavailable when the store does not come back.
    """
    _warn_of_damage(version)
    async with AsyncExitStack() as stack:
        chunks = await stack.enter_async_context(runtime.blobs.read(version.blob_key, start, end))
        yield VersionBody(runtime, version, start, end, chunks, stack)


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


class VersionBody:
    """Chunks until `end`; a store that breaks is resumed at `position`.

    stack: holds the connection in use and is emptied before another one is opened.
    """

    def __init__(
        self,
        runtime: Runtime,
        version: Version,
        start: int,
        end: int,
        chunks: AsyncIterator[bytes],
        stack: AsyncExitStack,
    ) -> None:
        self.position = start
        self._end = end
        self._runtime = runtime
        self._version = version
        self._chunks = chunks
        self._stack = stack
        self._failures = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self.position < self._end:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                await self._resume(StoreUnavailable("the store ended a blob early"))
            except StoreUnavailable as error:
                await self._resume(error)
            else:
                self._moved(len(chunk))
                return chunk
        raise StopAsyncIteration

    async def move(self, mover: Mover) -> None:
        """Let `mover` take the bytes as they come from the store, as far as it lends its socket;
        what is left after that is iterated.

        mover: sends all of a RawBody on and tells how much is on its way, as it goes. It raises
        StoreUnavailable where the store failed, once all that it had taken was passed on.
        """
        while self.position < self._end:
            try:
                raw = self._chunks.detach() if isinstance(self._chunks, Detachable) else None
                if raw is None:
                    return
                with closing(raw):
                    await mover(raw, self._moved)
            except StoreUnavailable as error:
                await self._resume(error)

    def _moved(self, size_bytes: int) -> None:
        self.position += size_bytes
        self._failures = 0

    async def _resume(self, error: StoreUnavailable) -> None:
        """Open the rest again, unless it broke too often without a byte in between."""
        self._failures += 1
        if self._failures > RESUMES:
            raise error
        log.info(
            "read_resumed", version=self._version.id, position=self.position, reason=error.code
        )
        if self.position < self._end:
            await self._stack.aclose()
            self._chunks = await self._reopened()

    async def _reopened(self) -> AsyncIterator[bytes]:
        """With growing pauses; gives up after RESUMES attempts."""
        for attempt in range(self._failures, RESUMES + 1):
            await asyncio.sleep(_PAUSE_S * attempt)
            try:
                return await self._stack.enter_async_context(
                    self._runtime.blobs.read(self._version.blob_key, self.position, self._end)
                )
            except BlobMissing as error:
                raise StoreUnavailable("the bytes went away in mid-stream") from error
            except StoreUnavailable:
                if attempt == RESUMES:
                    raise
        raise StoreUnavailable("the store does not come back")
