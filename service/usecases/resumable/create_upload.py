"""Creating a resumable upload: an entry in the ledger, and nothing else yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import IdempotencyMismatch
from service.model.ids import BucketId, TenantId, UploadId, VersionId, new_id
from service.model.preconditions import Preconditions
from service.model.resumable import ResumableTerms
from service.model.upload import Idempotency, Intent, Upload, UploadState
from service.model.version import ObjectFacts
from service.stores.blob_layout import new_blob_key
from service.usecases.admission import (
    admit,
    bucket_named,
    check_bucket,
    check_early,
    check_same,
    check_size,
    size_limit,
)
from service.usecases.runtime import Runtime


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """key: "" for a partial upload, which needs no place. length_bytes: None while unknown."""

    tenant: TenantId
    key: str
    terms: ResumableTerms
    facts: ObjectFacts = field(default_factory=ObjectFacts)
    preconditions: Preconditions = field(default_factory=Preconditions)
    length_bytes: int | None = None
    idempotency: Idempotency | None = None


async def create_upload(runtime: Runtime, request: CreateRequest) -> Upload:
    """The upload, or the earlier one that has the same idempotency key.

    Raises BucketNotFound, BucketDeleting, PreconditionFailed, TooLarge, UnsupportedMedia,
    IdempotencyMismatch, StoreUnavailable.
    """
    bucket = None
    if request.terms.bucket:
        bucket = await bucket_named(runtime, request.tenant, request.terms.bucket)
        limit = size_limit(runtime, bucket)
        check_bucket(bucket, request.facts.content_type, request.length_bytes, limit)
        await check_early(runtime, bucket, request.key, request.preconditions)
    elif request.length_bytes is not None:
        check_size(request.length_bytes, size_limit(runtime, None))
    intent = Intent(
        id=UploadId(new_id()),
        version_id=VersionId(new_id()),
        tenant=request.tenant,
        bucket_id=bucket.id if bucket else BucketId(""),
        key=request.key,
        blob_key=new_blob_key(request.tenant),
        facts=request.facts,
        preconditions=request.preconditions,
        declared_size_bytes=request.length_bytes,
        idempotency=request.idempotency,
        resumable=request.terms,
    )
    upload = await admit(runtime, intent, runtime.settings.uploads.ttl_s)
    if upload.intent.id != intent.id:
        check_same(upload, intent.idempotency, intent.bucket_id)
        if upload.state is UploadState.UNDOING:  # which frees the key in a moment
            raise IdempotencyMismatch
    return upload
