"""Export: the latest versions of a prefix as items of a depot, and a manifest of their metadata.

What it writes: the items one by one, each whole or not at all, then the manifest. A run that ends
early leaves items without a manifest line, or a manifest that is older; the next one passes over
what is there with the same size and digest, and writes the manifest anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from service.client.checksum import Crc64
from service.client.io_thread import BlockingThread
from service.client.sync.crew import each
from service.client.sync.report import Action, Kind, Report
from service.errors import BlobMissing, MediagateError
from service.model.depot import Exported
from service.model.ids import TenantId
from service.model.page import ListQuery
from service.model.version import Version
from service.protocol.manifest import manifest_line
from service.stores.depot_port import Depot
from service.usecases.digests import CRC64NVME
from service.usecases.get_object import read_version
from service.usecases.list_objects import MAX_LIMIT, list_objects
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """prefix: empty, or with `/` at its end; names in the depot are relative to it."""

    tenant: TenantId
    bucket: str
    prefix: str = ""
    parallel: int = 8
    dry_run: bool = False


async def export_objects(
    runtime: Runtime, request: ExportRequest, depot: Depot, report: Report
) -> None:
    """Raises BucketNotFound; what concerns one object is told by the report."""
    written: set[int] = set()

    async def export(thread: BlockingThread, version: Version) -> None:
        exported = _exported(version, request.prefix)
        try:
            kind = await _export(runtime, version, exported, depot, dry_run=request.dry_run)
        except (MediagateError, OSError) as error:
            report.failed(exported.name, error)
        else:
            written.add(hash(version.id))
            report.note(Action(kind, exported.name, version.size_bytes))

    await each(_versions(runtime, request), export, workers=request.parallel)
    if not request.dry_run:
        await depot.write_manifest(_lines(runtime, request, written))


async def _export(
    runtime: Runtime, version: Version, exported: Exported, depot: Depot, *, dry_run: bool
) -> Kind:
    there = await depot.digest(exported.name, version.size_bytes)
    if there is not None and there == version.digests.get(CRC64NVME):
        return Kind.SAME
    if not dry_run:
        await depot.write(exported, _chunks(runtime, version))
    return Kind.GET


async def _chunks(runtime: Runtime, version: Version) -> AsyncIterator[bytes]:
    """The whole version, held against its digest."""
    if version.damaged_at is not None:
        raise BlobMissing(f"the bytes of {version.key!r} are damaged in the store")
    digest = Crc64()
    if version.size_bytes:
        async with AsyncExitStack() as stack:
            body = await stack.enter_async_context(
                read_version(runtime, version, 0, version.size_bytes)
            )
            async for chunk in body:
                digest.update(chunk)
                yield chunk
    digest.check(version.digests.get(CRC64NVME), version.key)


async def _lines(
    runtime: Runtime, request: ExportRequest, written: set[int]
) -> AsyncIterator[bytes]:
    """Listed once more, so that a run keeps a number of each version and no facts: what came or
    was replaced since then has no line."""
    async for version in _versions(runtime, request):
        if hash(version.id) in written:
            yield manifest_line(_exported(version, request.prefix))


async def _versions(runtime: Runtime, request: ExportRequest) -> AsyncIterator[Version]:
    cursor = None
    while True:
        query = ListQuery(prefix=request.prefix, limit=MAX_LIMIT, cursor=cursor)
        page = await list_objects(runtime, request.tenant, request.bucket, query)
        for version in page.items:
            yield version
        cursor = page.next_cursor
        if cursor is None:
            return


def _exported(version: Version, prefix: str) -> Exported:
    return Exported(
        name=version.key[len(prefix) :],
        size_bytes=version.size_bytes,
        version=version.id,
        created_at=version.created_at,
        modified_at=version.modified_at,
        facts=version.facts,
        digests=version.digests,
    )
