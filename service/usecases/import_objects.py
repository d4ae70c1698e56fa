"""Import: the items of a depot become objects, each through the write ledger like any upload.

Nothing of a run is remembered but the objects themselves: an item is passed over where the key has
an object of the same size with the digest that the manifest tells, or, without a manifest, with the
depot's mark, which an import notes in the user metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from service.client.io_thread import BlockingThread
from service.client.sync.crew import each
from service.client.sync.report import Action, Kind, Report
from service.errors import BucketNotFound, MediagateError
from service.model.depot import DepotItem, Exported
from service.model.ids import BucketId, TenantId
from service.model.version import ObjectFacts, Version
from service.protocol.manifest import parse_manifest_line
from service.protocol.names import validate_key
from service.stores.depot_port import Depot
from service.stores.manifest_index import ManifestIndex
from service.usecases.digests import CRC64NVME, SUPPORTED
from service.usecases.put_object import PutRequest, put_object
from service.usecases.runtime import Runtime

MARK, MODIFIED = "import-mark", "import-last-modified"
"""User metadata of what was imported without a manifest."""
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """prefix: put before every name. move: an item whose object is committed is removed."""

    tenant: TenantId
    bucket: str
    prefix: str = ""
    move: bool = False
    parallel: int = 8
    dry_run: bool = False


class _Found(NamedTuple):
    """line: what the manifest says of the item."""

    item: DepotItem
    line: Exported | None


async def import_objects(
    runtime: Runtime, request: ImportRequest, depot: Depot, report: Report
) -> None:
    """Raises BucketNotFound; what concerns one item is told by the report."""
    bucket = await runtime.metadata.buckets.get(request.tenant, request.bucket)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {request.bucket!r}")
    async with BlockingThread() as thread:
        manifest = await thread.run(ManifestIndex)
        try:
            await _read_manifest(depot, thread, manifest)
            run = _Import(runtime, request, bucket.id, depot, manifest, report)
            await each(depot.items(), run.take, workers=request.parallel)
        finally:
            await thread.run(manifest.close)


async def _read_manifest(depot: Depot, thread: BlockingThread, manifest: ManifestIndex) -> None:
    rows: list[tuple[str, bytes]] = []
    async for line in depot.manifest():
        rows.append((parse_manifest_line(line).name, line))
        if len(rows) >= _BATCH:
            await thread.run(manifest.add, rows)
            rows = []
    await thread.run(manifest.add, rows)


@dataclass(frozen=True, slots=True)
class _Import:
    runtime: Runtime
    request: ImportRequest
    bucket_id: BucketId
    depot: Depot
    manifest: ManifestIndex
    report: Report

    async def take(self, thread: BlockingThread, item: DepotItem) -> None:
        try:
            line = await thread.run(self.manifest.line, item.name)
            found = _Found(item, parse_manifest_line(line) if line else None)
            kind = await self._take(found)
        except (MediagateError, OSError) as error:
            self.report.failed(item.name, error)
        else:
            self.report.note(Action(kind, item.name, item.size_bytes))

    async def _take(self, found: _Found) -> Kind:
        request, item = self.request, found.item
        key = validate_key(request.prefix + item.name)
        versions = self.runtime.metadata.versions
        latest = await versions.get_latest(request.tenant, self.bucket_id, key)
        there = latest is not None and await _is_there(latest, found, self.depot)
        if not there and not request.dry_run:
            await _put(self.runtime, request, key, self.depot, found)
        if request.move and not request.dry_run:
            await self.depot.remove(item)
        return Kind.SAME if there else Kind.PUT


async def _is_there(latest: Version, found: _Found, depot: Depot) -> bool:
    item, line = found
    if latest.size_bytes != item.size_bytes:
        return False
    if line is None and latest.facts.user_metadata.get(MARK) == item.mark:
        return True
    digest = latest.digests.get(CRC64NVME)
    if digest is None or (line is not None and line.digests.get(CRC64NVME) != digest):
        return False
    # A line tells what was exported; somebody may have changed the item since.
    return await depot.digest(item.name, item.size_bytes) == digest


async def _put(
    runtime: Runtime, request: ImportRequest, key: str, depot: Depot, found: _Found
) -> None:
    item, line = found
    async with depot.open(item) as content:
        wanted = PutRequest(
            tenant=request.tenant,
            bucket=request.bucket,
            key=key,
            facts=line.facts if line else _facts(content.facts, item),
            declared_size_bytes=item.size_bytes,
            expected_digests=_promised(line),
        )
        await put_object(runtime, wanted, content.chunks)


def _promised(line: Exported | None) -> dict[str, bytes]:
    """All digests that the export had: they are verified, and kept again."""
    digests = line.digests if line else {}
    return {name: value for name, value in digests.items() if name in SUPPORTED}


def _facts(known: ObjectFacts, item: DepotItem) -> ObjectFacts:
    noted = {MARK: item.mark, MODIFIED: item.modified_at.isoformat(timespec="milliseconds")}
    return replace(known, user_metadata={**known.user_metadata, **noted})
