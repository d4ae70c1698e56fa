"""From driver exceptions to ours: one table for what the store says, one for what breaks.

The question behind each row is whether the request may have been carried out. A refusal is an
answer: nothing was done. A lost answer of a write is OutcomeUnknown, whatever lost it: the store
may have done it, or may do it yet.

Bytes damaged on the way to the store (`BadDigest`, `XAmzContentChecksumMismatch`) are
StoreUnavailable, not DigestMismatch: our digest was right, so the client did nothing wrong and
may send again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from service.errors import (
    BlobMissing,
    MediagateError,
    MultipartGone,
    OutcomeUnknown,
    StoreFull,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
)
from service.stores.s3.part_body import PartBody

DRIVER_ERRORS = (ClientError, BotoCoreError, aiohttp.ClientError, OSError)

# SeaweedFS says InternalError when its disk is full, which tells nothing: that stays unknown.
_FULL = (
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",  # MinIO's hard bucket quota
    "InsufficientStorage",
    "InsufficientCapacity",
    "QuotaExceeded",  # Ceph
    "StorageFull",
)
_REFUSED_FOR_NOW = (
    "SlowDown",
    "SlowDownRead",  # MinIO
    "SlowDownWrite",  # MinIO
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "XMinioServerNotInitialized",
    "RequestTimeout",  # the store waited for our bytes
    "IncompleteBody",
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "NoSuchBucket",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
)
BY_CODE: dict[str, type[MediagateError]] = {
    "NoSuchKey": BlobMissing,
    "InvalidRange": BlobMissing,  # the blob is shorter than its version
    "NoSuchUpload": MultipartGone,  # undone by another replica, or expired
    **dict.fromkeys(_FULL, StoreFull),
    **dict.fromkeys(_REFUSED_FOR_NOW, StoreUnavailable),
}
BY_STATUS: dict[int, type[MediagateError]] = {
    401: StoreUnavailable,
    403: StoreUnavailable,  # HEAD brings no code: our credentials, the operator's to mend
    404: BlobMissing,
    429: StoreUnavailable,
    501: StoreRefused,
    507: StoreFull,
}


def error_code(error: ClientError) -> str:
    """S3's error code; the bare status where the answer had no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def http_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: Exception, *, write: bool) -> MediagateError:
    """Our error for a driver's.

    write: the request would have changed something, so a lost answer leaves that unknown.
    """
    if isinstance(error, ClientError):
        return _translate_answer(error, write=write)
    if isinstance(error, ConnectTimeoutError):
        return StoreTimeout("the S3 store could not be reached in time")
    if _never_sent(error):
        return StoreUnavailable("the S3 store cannot be reached", silent=True)
    late = isinstance(error, (ReadTimeoutError, TimeoutError))
    if write:
        return OutcomeUnknown("the answer of the S3 store was lost", silent=late)
    if late:
        return StoreTimeout("the S3 store did not answer in time")
    return StoreUnavailable("the connection to the S3 store broke")


def _translate_answer(error: ClientError, *, write: bool) -> MediagateError:
    code, status = error_code(error), http_status(error)
    kind = BY_CODE.get(code) or BY_STATUS.get(status)
    if kind is None and (status >= 500 or status < 400):
        # A 2xx with an error inside counts here too: Complete may say 200 before it knows.
        kind = OutcomeUnknown if write else StoreUnavailable
    return (kind or StoreRefused)(f"the S3 store answered {code or status}")


def _never_sent(error: Exception) -> bool:
    """Whether no connection was made, so that nothing can have been done.

    aiobotocore says EndpointConnectionError for a connection that broke in mid-request too.
    """
    if isinstance(error, (SSLError, ProxyConnectionError)):
        return True
    cause = error.kwargs.get("error") if isinstance(error, EndpointConnectionError) else error
    return isinstance(cause, (aiohttp.ClientConnectorError, socket.gaierror))


@asynccontextmanager
async def s3_call(
    timeout_s: float, *, write: bool = False, body: PartBody | None = None
) -> AsyncIterator[None]:
    """Bound what is inside by a deadline and translate what it raises.

    body: tells how often its bytes began to leave; it is released at the end.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except DRIVER_ERRORS as error:
        raise _translate_send(error, write=write, body=body) from error
    finally:
        if body is not None:
            body.release()


def _translate_send(error: Exception, *, write: bool, body: PartBody | None) -> MediagateError:
    """Where no byte left, nothing was done; an attempt before the last may have been, whatever
    the last one met."""
    if not write or not body:
        return translate(error, write=write)
    found = translate(error, write=body.sends > 0)
    answered = 1 if isinstance(error, ClientError) else 0
    if isinstance(found, StoreUnavailable) and body.sends > answered:
        return OutcomeUnknown("an attempt may have reached the S3 store", silent=found.silent)
    return found
