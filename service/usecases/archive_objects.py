"""Archive: all objects with a prefix as one stream of bytes, in the order of their keys.

The listing is read by pages. What a page names is what is packed, even where it is overwritten or
deleted meanwhile, for blobs outlive the longest download (`sweep.grace_s`); so each object is one
whole version, while the archive as a whole is no snapshot of a bucket that changes under it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from service.errors import StoreUnavailable
from service.model.ids import TenantId
from service.model.page import ListQuery
from service.model.version import Version
from service.protocol.archives import Packer
from service.usecases.get_object import read_version
from service.usecases.list_objects import MAX_LIMIT, list_objects
from service.usecases.runtime import Runtime


def entry_name(key: str, prefix: str) -> str:
    """The key behind the folder of the prefix: `a/b/c` for `a/b` is `b/c`, and `c` for `a/b/`."""
    return key[prefix.rfind("/") + 1 :]


async def archive_objects(
    runtime: Runtime, tenant: TenantId, bucket: str, prefix: str, packer: Packer
) -> AsyncGenerator[bytes, None]:
    """Chunks of >= 1 byte. A first one is given only once the first object's bytes are there.

    Raises BucketNotFound; BlobMissing, StoreUnavailable for an object that cannot be read to its
    end: what was given so far is no archive then.
    """
    async with aclosing(_versions(runtime, tenant, bucket, prefix)) as versions:
        async for version in versions:
            name = entry_name(version.key, prefix)
            async with aclosing(_entry(runtime, version, name, packer)) as chunks:
                async for chunk in chunks:
                    if chunk:
                        yield chunk
    yield packer.end()


async def _versions(
    runtime: Runtime, tenant: TenantId, bucket: str, prefix: str
) -> AsyncGenerator[Version, None]:
    cursor: str | None = None
    while True:
        page = await list_objects(
            runtime, tenant, bucket, ListQuery(prefix=prefix, limit=MAX_LIMIT, cursor=cursor)
        )
        for version in page.items:
            yield version
        cursor = page.next_cursor
        if cursor is None:
            return


async def _entry(
    runtime: Runtime, version: Version, name: str, packer: Packer
) -> AsyncGenerator[bytes, None]:
    begin = name, version.size_bytes, version.modified_at
    if not version.size_bytes:
        yield packer.begin(*begin)
    else:
        async with read_version(runtime, version, 0, version.size_bytes) as body:
            yield packer.begin(*begin)
            async for chunk in body:
                yield packer.data(chunk)
            if body.position != version.size_bytes:
                raise StoreUnavailable(f"the store gave {body.position} bytes of {version.id}")
    yield packer.finish()
