"""Moves: an object gets another name, in another bucket perhaps, and the old one names nothing.

Out of a bucket that keeps no versions only the name changes: one transaction hands the blob over to
a new version (`VersionIndex.hand_over`), nothing is copied, and a crash leaves all of it or
nothing. Out of one that keeps versions the old version stays where it is, behind a delete marker,
and needs its blob: that move is a copy (copy_object.py).

The new version is made now: its id and times are those of a copy. A move whose answer was lost may
have happened; asked again it finds no source.
"""

from __future__ import annotations

from dataclasses import replace

from service.errors import Invalid, StoreUnavailable
from service.model.bucket import Bucket
from service.model.ids import VersionId, new_id
from service.model.upload import MovedFrom
from service.model.version import HandedOver
from service.usecases.admission import bucket_named
from service.usecases.copy_object import (
    CopyRequest,
    check_destination,
    copy_object,
    find_original,
)
from service.usecases.put_object import PutResult
from service.usecases.runtime import Runtime

_TRIES = 5
"""The source may be another version each time: only then is it looked up again."""


async def move_object(runtime: Runtime, request: CopyRequest) -> PutResult:
    """Make what the source names now the latest version of the destination, and end the source.

    Raises Invalid where both are the same, and what `copy_object` does; with PreconditionFailed
    also where the source is not the version that was named, or was changed while it was copied.
    """
    source = request.source
    if (source.bucket, source.key) == (request.bucket, request.key):
        raise Invalid("source and destination are the same", field="destination")
    for _ in range(_TRIES):
        bucket = await bucket_named(runtime, request.tenant, source.bucket)
        if bucket.settings.versioning:
            return await copy_object(runtime, replace(request, moves=True))
        moved = await _hand_over(runtime, request, bucket)
        if moved is not None:
            return PutResult(moved.version, created=not moved.replaced)
    raise StoreUnavailable("the source of the move is overwritten again and again")


async def _hand_over(runtime: Runtime, request: CopyRequest, source: Bucket) -> HandedOver | None:
    old = await find_original(runtime, request.tenant, request.source, current=True)
    bucket = await bucket_named(runtime, request.tenant, request.bucket)
    check_destination(bucket, old, runtime.settings.limits.max_object_bytes)
    return await runtime.metadata.versions.hand_over(
        request.tenant,
        MovedFrom(source.id, old.key, old.id),
        bucket.id,
        request.key,
        VersionId(new_id()),
        request.preconditions,
        deadline_s=runtime.settings.metadata.commit_timeout_s,
    )
