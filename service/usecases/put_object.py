"""PUT: one body becomes one version, or nothing at all.

What it writes, in this order: the ledger's entry (the intent, with its S3 key), the blob, the step
to `completing`, for a multipart the store's Complete, and the commit transaction. What a crash
leaves after each is in docs/promises.md; the sweeper settles all of it. The steps after the body
run in a task of their own, which a client that goes away does not cancel.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from service.errors import (
    BucketDeleting,
    BucketNotFound,
    IdempotencyMismatch,
    MediagateError,
    OutcomeUnknown,
    RequestInProgress,
    TooLarge,
    UnsupportedMedia,
)
from service.model.bucket import Bucket, BucketState
from service.model.ids import TenantId, UploadId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.upload import (
    Completion,
    Idempotency,
    Intent,
    Upload,
    UploadRef,
    UploadState,
)
from service.model.version import ObjectFacts, Version
from service.protocol.media_types import matches_any
from service.stores.blob_layout import new_blob_key
from service.usecases.digests import BodyDigests
from service.usecases.leases import kept_lease
from service.usecases.part_plan import largest_object_bytes
from service.usecases.runtime import Runtime
from service.usecases.store_body import BodyStorer, StoredBody, is_whole
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


async def put_object(
    runtime: Runtime, request: PutRequest, body: AsyncIterator[bytes]
) -> PutResult:
    """Store `body` as the latest version of the key.

    body: chunks of >= 1 byte; not touched before the request is admitted, nor for a replay.
    Cancellation and every error before the commit undo the upload in the background.
    Raises BucketNotFound, BucketDeleting, PreconditionFailed, TooLarge, UnsupportedMedia,
    DigestMismatch, IncompleteBody, SlowClient, RequestInProgress, IdempotencyMismatch,
    StoreUnavailable and StoreFull; nothing is visible then, except that OutcomeUnknown leaves it to
    the sweeper to find out.
    """
    bucket = await _open_bucket(runtime, request)
    max_bytes = _size_limit(runtime, bucket, request)
    if request.idempotency is None:
        await _check_preconditions(runtime, request, bucket)
    intent = _intent(request, bucket)
    upload = await runtime.metadata.uploads.admit(
        intent, secrets.token_hex(8), runtime.settings.uploads.lease_s
    )
    if upload.intent.id != intent.id:
        return _replay(upload, request)
    try:
        if request.idempotency is not None:
            await _check_preconditions(runtime, request, bucket)
        digests = BodyDigests(request.expected_digests, request.wanted_digests)
        storer = BodyStorer(runtime, upload, bucket, body, digests, max_bytes=max_bytes)
        async with kept_lease(runtime.metadata.uploads, upload.ref, _lease_s(runtime)):
            stored = await storer.run()
    except BaseException:
        runtime.tasks.spawn(undo_quietly(runtime, upload.ref), name="undo")
        raise
    committed = await runtime.tasks.outlive(_finish(runtime, upload, stored), name="commit")
    return PutResult(committed.version(), created=not committed.replaced)


def _lease_s(runtime: Runtime) -> float:
    return runtime.settings.uploads.lease_s


async def _open_bucket(runtime: Runtime, request: PutRequest) -> Bucket:
    bucket = await runtime.metadata.buckets.get(request.tenant, request.bucket)
    if bucket is None:
        raise BucketNotFound(f"there is no bucket {request.bucket!r}")
    if bucket.state is BucketState.DELETING:
        raise BucketDeleting(f"bucket {request.bucket!r} is being deleted")
    allowed = bucket.settings.allowed_content_types
    if allowed and not matches_any(request.facts.content_type, allowed):
        raise UnsupportedMedia(
            f"bucket {request.bucket!r} does not take {request.facts.content_type}",
            allowed_content_types=list(allowed),
        )
    return bucket


def _size_limit(runtime: Runtime, bucket: Bucket, request: PutRequest) -> int:
    settings = runtime.settings
    declared = request.declared_size_bytes
    limit = min(
        settings.limits.max_object_bytes,
        bucket.settings.max_object_size_bytes or settings.limits.max_object_bytes,
        largest_object_bytes(
            declared is not None, settings.uploads, settings.limits.byte_budget_bytes
        ),
    )
    if declared is not None and declared > limit:
        raise TooLarge(f"{declared} bytes are more than the {limit} allowed", limit_bytes=limit)
    return limit


async def _check_preconditions(runtime: Runtime, request: PutRequest, bucket: Bucket) -> None:
    """Early, to spare the client the upload; what counts is the check inside the commit."""
    if request.preconditions == Preconditions():
        return
    latest = await runtime.metadata.versions.get_latest(request.tenant, bucket.id, request.key)
    request.preconditions.check_write(latest)


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


def _replay(earlier: Upload, request: PutRequest) -> PutResult:
    """Answer for a request whose idempotency key an earlier upload holds."""
    assert request.idempotency is not None
    assert earlier.intent.idempotency is not None
    if earlier.intent.idempotency.fingerprint != request.idempotency.fingerprint:
        raise IdempotencyMismatch
    if earlier.state is not UploadState.COMMITTED:
        raise RequestInProgress(retry_after_s=1)
    return PutResult(earlier.version(), created=not earlier.replaced, replayed=True)


async def _finish(runtime: Runtime, upload: Upload, stored: StoredBody) -> Upload:
    """`completing`, the store's Complete, the commit; an upload that cannot go on is undone."""
    committing = False
    try:
        await _complete(runtime, upload, stored)
        committing = True
        return await runtime.metadata.uploads.commit(
            upload.ref, deadline_s=runtime.settings.metadata.commit_timeout_s
        )
    except OutcomeUnknown:
        if not committing:
            await undo_quietly(runtime, upload.ref)
        raise
    except MediagateError:
        await undo_quietly(runtime, upload.ref)
        raise


async def _complete(runtime: Runtime, upload: Upload, stored: StoredBody) -> None:
    intent = upload.intent
    base_seq = await runtime.metadata.versions.current_seq(
        intent.tenant, intent.bucket_id, intent.key
    )
    completion = Completion(
        size_bytes=stored.size_bytes,
        digests=stored.digests,
        facts=replace(intent.facts, sniffed_type=stored.sniffed_type),
        parts=stored.parts,
        base_seq=base_seq,
    )
    await runtime.metadata.uploads.complete(upload.ref, completion, _lease_s(runtime))
    if stored.multipart_id is None:
        return
    async with kept_lease(runtime.metadata.uploads, upload.ref, _lease_s(runtime)):
        await _complete_multipart(runtime, upload.ref, stored)


async def _complete_multipart(runtime: Runtime, ref: UploadRef, stored: StoredBody) -> None:
    """MinIO answers NoSuchUpload to a repeated Complete, so only a HEAD tells what happened."""
    assert stored.multipart_id is not None
    try:
        await runtime.blobs.complete(
            stored.blob_key, stored.multipart_id, stored.parts, stored.crc64nvme
        )
    except OutcomeUnknown:
        if not await is_whole(runtime, stored.blob_key, stored.size_bytes, stored.crc64nvme):
            raise
