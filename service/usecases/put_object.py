"""PUT: one body becomes one version, or nothing at all.

What it writes, in this order: the ledger's entry (the intent, with its S3 key), the blob, the step
to `completing`, for a multipart the store's Complete, and the commit transaction. What a crash
leaves after each is in docs/promises.md; the sweeper settles all of it. The steps after the body
are in commit_upload.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from service.model.bucket import Bucket
from service.model.ids import TenantId, UploadId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.upload import Idempotency, Intent, Staged, Upload
from service.model.version import ObjectFacts, Version
from service.stores.blob_layout import new_blob_key
from service.usecases.admission import (
    admit,
    bucket_named,
    check_bucket,
    check_early,
    replayed,
    size_limit,
)
from service.usecases.commit_upload import commit_upload, complete_upload
from service.usecases.digests import BodyDigests
from service.usecases.leases import kept_lease
from service.usecases.part_plan import largest_object_bytes
from service.usecases.runtime import Runtime
from service.usecases.store_body import BodyStorer, StoredBody
from service.usecases.undo import undo_quietly


@dataclass(frozen=True, slots=True)
class PutRequest:
    """Names are valid already (protocol/names.py).

    declared_size_bytes: None for an unknown length. expected_digests: algorithm as in Repr-Digest
    -> raw bytes, verified. wanted_digests: computed and kept as well.
    """

    tenant: TenantId
    bucket: str
    key: str
    facts: ObjectFacts = field(default_factory=ObjectFacts)
    preconditions: Preconditions = field(default_factory=Preconditions)
    declared_size_bytes: int | None = None
    expected_digests: Mapping[str, bytes] = field(default_factory=dict)
    wanted_digests: frozenset[str] = frozenset()
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class PutResult:
    """created: the key named nothing before. replayed: the first answer, told again."""

    version: Version
    created: bool
    replayed: bool = False


def told_again(upload: Upload) -> PutResult:
    return PutResult(upload.version(), created=not upload.replaced, replayed=True)


async def put_object(
    runtime: Runtime, request: PutRequest, body: AsyncIterator[bytes]
) -> PutResult:
    """Store `body` as the latest version of the key.

    body: chunks of >= 1 byte; not touched before the request is admitted, nor for a replay.
    Cancellation and every error before the end of the body undo the upload in the background.
    Raises BucketNotFound, BucketDeleting, PreconditionFailed, TooLarge, UnsupportedMedia,
    DigestMismatch, IncompleteBody, SlowClient, RequestInProgress, IdempotencyMismatch,
    StoreUnavailable and StoreFull; nothing is visible then, except that OutcomeUnknown leaves it to
    the sweeper to find out.
    """
    bucket = await bucket_named(runtime, request.tenant, request.bucket)
    if request.idempotency is None:
        await _check(runtime, request, bucket)
    intent = _intent(request, bucket)
    upload = await admit(runtime, intent)
    if upload.intent.id != intent.id:
        return told_again(replayed(upload, request.idempotency, bucket))
    try:
        if request.idempotency is not None:
            await _check(runtime, request, bucket)
        stored = await _store(runtime, request, bucket, upload, body)
    except BaseException:
        runtime.tasks.spawn(undo_quietly(runtime, upload.ref), name="undo")
        raise
    committed = await commit_upload(runtime, upload, stored)
    return PutResult(committed.version(), created=not committed.replaced)


async def stage_object(runtime: Runtime, request: PutRequest, body: AsyncIterator[bytes]) -> Staged:
    """All of a PUT but its commit, for `UploadLedger.commit_all`; the caller keeps the lease.

    request: without an idempotency key. Raises what `put_object` raises; the upload is undone then.
    """
    bucket = await bucket_named(runtime, request.tenant, request.bucket)
    await _check(runtime, request, bucket)
    upload = await admit(runtime, replace(_intent(request, bucket), staged=True))
    try:
        stored = await _store(runtime, request, bucket, upload, body)
        return Staged(upload, await complete_upload(runtime, upload, stored))
    except BaseException:
        runtime.tasks.spawn(undo_quietly(runtime, upload.ref), name="undo")
        raise


async def _check(runtime: Runtime, request: PutRequest, bucket: Bucket) -> None:
    """Whatever can be refused before the body. With an idempotency key only after admission, for a
    replay gets its first answer whatever has changed since."""
    limit = _size_limit(runtime, request, bucket)
    check_bucket(bucket, request.facts.content_type, request.declared_size_bytes, limit)
    await check_early(runtime, bucket, request.key, request.preconditions)


def _size_limit(runtime: Runtime, request: PutRequest, bucket: Bucket) -> int:
    """In bytes: the service's, the bucket's, and what 10,000 parts can hold."""
    limits, uploads = runtime.settings.limits, runtime.settings.uploads
    declared = request.declared_size_bytes is not None
    room = largest_object_bytes(declared, uploads, limits.byte_budget_bytes)
    return min(size_limit(runtime, bucket), room)


async def _store(
    runtime: Runtime,
    request: PutRequest,
    bucket: Bucket,
    upload: Upload,
    body: AsyncIterator[bytes],
) -> StoredBody:
    digests = BodyDigests(request.expected_digests, request.wanted_digests)
    limit = _size_limit(runtime, request, bucket)
    lease_s = runtime.settings.uploads.lease_s
    async with kept_lease(runtime.metadata.uploads, upload.ref, lease_s) as lease:
        storer = BodyStorer(runtime, upload, bucket, body, digests, lease, max_bytes=limit)
        return await storer.run()


def _intent(request: PutRequest, bucket: Bucket) -> Intent:
    return Intent(
        id=UploadId(new_id()),
        version_id=VersionId(new_id()),
        tenant=request.tenant,
        bucket_id=bucket.id,
        key=request.key,
        blob_key=new_blob_key(request.tenant),
        facts=request.facts,
        preconditions=request.preconditions,
        declared_size_bytes=request.declared_size_bytes,
        idempotency=request.idempotency,
    )
