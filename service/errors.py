"""Everything that can go wrong, as one tree that knows nothing of HTTP.

    MediagateError
    ├── Invalid                    the request makes no sense as it stands
    │   ├── InvalidKey             an object key that is refused
    │   ├── InvalidBucketName
    │   ├── InvalidCursor
    │   ├── InconsistentLength     an upload's length is told in two ways, or changed
    │   └── DigestMismatch         the bytes are not what the client said
    ├── IncompleteBody             the body ended, broke or stalled before its end
    ├── Unauthenticated            no key, or none that counts
    ├── Forbidden                  a key, but not for this
    ├── NotFound
    │   ├── BucketNotFound
    │   ├── ObjectNotFound
    │   ├── JobNotFound
    │   ├── KeyNotFound
    │   └── UploadNotFound
    ├── Gone
    │   └── UploadGone             ended, expired, or its bytes were lost
    ├── Conflict
    │   ├── BucketExists
    │   ├── BucketNotEmpty
    │   ├── BucketDeleting
    │   ├── OffsetMismatch         the upload is at another one; extras: offset, given_offset
    │   ├── UploadComplete         nothing can be added to it any more; extras: offset
    │   ├── UploadTakenOver        a newer request goes on with it
    │   └── RequestInProgress      the first request of this idempotency key still runs
    ├── PreconditionFailed
    ├── TooLarge
    ├── UnsupportedMedia
    ├── RangeNotSatisfiable
    ├── SlowClient
    ├── IdempotencyMismatch        same idempotency key, another request
    ├── RateLimited
    ├── StoreFull
    ├── StoreUnavailable           transient: try again later
    │   ├── StoreTimeout
    │   ├── OutcomeUnknown         the store may or may not have done it
    │   ├── MultipartGone          the store knows no such multipart, or none any more
    │   └── Fenced                 another owner took this upload over
    ├── SchemaMismatch             the database was written by another release
    ├── StoreRefused               the store will never do what we asked (internal)
    ├── BlobMissing                metadata names a blob that the store does not have (internal)
    └── JournalDamaged             a journal object is not what was written (internal)

(protocol/tus.py has two more, for what tus alone tells.)
`code` is stable and part of the API; `detail` is for people; `extras` are facts for programs.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MediagateError(Exception):
    """Base of the tree; `code` and `title` belong to the class, the rest to the case."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", **extras: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extras = extras


class Invalid(MediagateError):
    code = "invalid"
    title = "The request is not valid"


class InvalidKey(Invalid):
    code = "invalid_key"
    title = "The object key is not valid"


class InvalidBucketName(Invalid):
    code = "invalid_bucket_name"
    title = "The bucket name is not valid"


class InvalidCursor(Invalid):
    code = "invalid_cursor"
    title = "The cursor is not valid"


class InconsistentLength(Invalid):
    code = "inconsistent_upload_length"
    title = "The upload's length is told in two ways"


class DigestMismatch(Invalid):
    code = "digest_mismatch"
    title = "The bytes do not match the digest"


class IncompleteBody(MediagateError):
    code = "incomplete_body"
    title = "The request body ended before its end"


class Unauthenticated(MediagateError):
    code = "unauthenticated"
    title = "A valid API key is needed"


class Forbidden(MediagateError):
    code = "forbidden"
    title = "This API key may not do that"


class NotFound(MediagateError):
    code = "not_found"
    title = "There is nothing here"


class BucketNotFound(NotFound):
    code = "bucket_not_found"
    title = "There is no such bucket"


class ObjectNotFound(NotFound):
    code = "object_not_found"
    title = "There is no such object"


class JobNotFound(NotFound):
    code = "job_not_found"
    title = "There is no such job"


class KeyNotFound(NotFound):
    code = "key_not_found"
    title = "There is no such API key"


class UploadNotFound(NotFound):
    code = "upload_not_found"
    title = "There is no such upload"


class Gone(MediagateError):
    code = "gone"
    title = "This is gone for good"


class UploadGone(Gone):
    code = "upload_gone"
    title = "This upload ended or expired"


class Conflict(MediagateError):
    code = "conflict"
    title = "The request conflicts with the present state"


class BucketExists(Conflict):
    code = "bucket_exists"
    title = "There is such a bucket already"


class BucketNotEmpty(Conflict):
    code = "bucket_not_empty"
    title = "The bucket is not empty"


class BucketDeleting(Conflict):
    code = "bucket_deleting"
    title = "The bucket is being deleted"


class OffsetMismatch(Conflict):
    code = "offset_mismatch"
    title = "The upload is at another offset"


class UploadComplete(Conflict):
    code = "upload_complete"
    title = "The upload is complete already"


class UploadTakenOver(Conflict):
    code = "upload_taken_over"
    title = "A newer request goes on with this upload"


class RequestInProgress(Conflict):
    code = "request_in_progress"
    title = "The first request with this idempotency key is still under way"


class PreconditionFailed(MediagateError):
    code = "precondition_failed"
    title = "A precondition does not hold"


class TooLarge(MediagateError):
    code = "too_large"
    title = "The body is larger than allowed"


class UnsupportedMedia(MediagateError):
    code = "unsupported_media_type"
    title = "This content type is not accepted here"


class RangeNotSatisfiable(MediagateError):
    """extras: size_bytes, the length of the representation."""

    code = "range_not_satisfiable"
    title = "No requested range lies within the object"


class SlowClient(MediagateError):
    code = "slow_client"
    title = "The client sent nothing, or too little, for too long"


class IdempotencyMismatch(MediagateError):
    code = "idempotency_mismatch"
    title = "This idempotency key was used for another request"


class RateLimited(MediagateError):
    code = "rate_limited"
    title = "Too many requests"


class StoreFull(MediagateError):
    code = "store_full"
    title = "The store has no room left"


class StoreUnavailable(MediagateError):
    """silent: the store was not reached or gave no answer in time, so it may be down; False where
    it refused, or a connection broke that others may not."""

    code = "store_unavailable"
    title = "A store behind the service does not answer"

    def __init__(self, detail: str = "", *, silent: bool = False, **extras: Any) -> None:
        super().__init__(detail, **extras)
        self.silent = silent


class StoreTimeout(StoreUnavailable):
    code = "store_timeout"
    title = "A store behind the service did not answer in time"

    def __init__(self, detail: str = "", *, silent: bool = True, **extras: Any) -> None:
        super().__init__(detail, silent=silent, **extras)


class OutcomeUnknown(StoreUnavailable):
    """A write was sent and its answer was lost: it may have happened, now or later."""

    code = "outcome_unknown"
    title = "It is not known whether the store did it"


class MultipartGone(StoreUnavailable):
    code = "multipart_gone"
    title = "The store knows no such multipart upload"


class Fenced(StoreUnavailable):
    """A step on the ledger met another epoch, owner or state: this process no longer owns it."""

    code = "fenced"
    title = "The upload was taken over"


class SchemaMismatch(MediagateError):
    code = "schema_mismatch"
    title = "The database was written by another release"


class StoreRefused(MediagateError):
    """Asking again would change nothing: a mistake of ours or of the store's configuration."""

    code = "internal"
    title = "A store behind the service refuses the request"


class BlobMissing(MediagateError):
    code = "internal"
    title = "The bytes of this version are missing"


class JournalDamaged(MediagateError):
    code = "internal"
    title = "A journal object is damaged"
