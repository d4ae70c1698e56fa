"""What the store says and what breaks, in our words."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
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
from service.stores.s3.translation import s3_call, translate

URL = "http://127.0.0.1:9000"
KEY = ConnectionKey("127.0.0.1", 9000, False, True, None, None, None)
REFUSED = EndpointConnectionError(
    endpoint_url=URL, error=aiohttp.ClientConnectorError(KEY, OSError(111, "refused"))
)
RESET = EndpointConnectionError(endpoint_url=URL, error=aiohttp.ClientOSError(104, "reset"))
CLOSED = ConnectionClosedError(endpoint_url=URL)


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )


@pytest.mark.parametrize(
    ("error", "of_a_read", "of_a_write"),
    [
        (answer("NoSuchKey", 404), BlobMissing, BlobMissing),
        (answer("404", 404), BlobMissing, BlobMissing),
        (answer("InvalidRange", 416), BlobMissing, BlobMissing),
        (answer("XMinioStorageFull", 507), StoreFull, StoreFull),
        (answer("SomethingNew", 507), StoreFull, StoreFull),
        (answer("XMinioAdminBucketQuotaExceeded", 400), StoreFull, StoreFull),
        (answer("SlowDown", 503), StoreUnavailable, StoreUnavailable),
        (answer("SlowDownWrite", 503), StoreUnavailable, StoreUnavailable),
        (answer("NoSuchBucket", 404), StoreUnavailable, StoreUnavailable),
        (answer("NoSuchUpload", 404), MultipartGone, MultipartGone),
        (answer("AccessDenied", 403), StoreUnavailable, StoreUnavailable),
        (answer("403", 403), StoreUnavailable, StoreUnavailable),
        (answer("BadDigest", 400), StoreUnavailable, StoreUnavailable),
        (answer("XAmzContentChecksumMismatch", 400), StoreUnavailable, StoreUnavailable),
        (answer("EntityTooSmall", 400), StoreRefused, StoreRefused),
        (answer("InvalidPart", 400), StoreRefused, StoreRefused),
        (answer("NotImplemented", 501), StoreRefused, StoreRefused),
        (answer("InternalError", 500), StoreUnavailable, OutcomeUnknown),
        (answer("XMinioWriteQuorum", 503), StoreUnavailable, OutcomeUnknown),
        (answer("InternalError", 200), StoreUnavailable, OutcomeUnknown),
        (ConnectTimeoutError(endpoint_url=URL), StoreTimeout, StoreTimeout),
        (REFUSED, StoreUnavailable, StoreUnavailable),
        (socket.gaierror(), StoreUnavailable, StoreUnavailable),
        (RESET, StoreUnavailable, OutcomeUnknown),
        (CLOSED, StoreUnavailable, OutcomeUnknown),
        (aiohttp.ClientPayloadError(), StoreUnavailable, OutcomeUnknown),
        (ReadTimeoutError(endpoint_url=URL), StoreTimeout, OutcomeUnknown),
        (TimeoutError(), StoreTimeout, OutcomeUnknown),
    ],
    ids=str,
)
def test_error_of_the_driver_becomes_ours(
    error: Exception, of_a_read: type[MediagateError], of_a_write: type[MediagateError]
) -> None:
    assert type(translate(error, write=False)) is of_a_read
    assert type(translate(error, write=True)) is of_a_write


@pytest.mark.parametrize(
    ("error", "silent"),
    [
        (answer("SlowDown", 503), False),
        (answer("InternalError", 500), False),
        (answer("AccessDenied", 403), False),
        (RESET, False),
        (CLOSED, False),
        (REFUSED, True),
        (ConnectTimeoutError(endpoint_url=URL), True),
        (ReadTimeoutError(endpoint_url=URL), True),
        (TimeoutError(), True),
    ],
    ids=str,
)
async def test_silence_is_told_from_refusals_and_broken_connections(
    error: Exception, silent: bool
) -> None:
    for found in (
        translate(error, write=False),
        translate(error, write=True),
        await fail_after_sends(0, error),
        await fail_after_sends(2, error),
    ):
        assert isinstance(found, StoreUnavailable)
        assert found.silent is silent


async def fail_after_sends(sends: int, error: Exception) -> MediagateError:
    body = PartBody([b"some", b"bytes"])
    for _ in range(sends):
        assert [chunk async for chunk in body] == [b"some", b"bytes"]
    with pytest.raises(MediagateError) as caught:
        async with s3_call(1, write=True, body=body):
            raise error
    assert [chunk async for chunk in body] == []
    return caught.value


@pytest.mark.parametrize("error", [REFUSED, CLOSED, RESET, TimeoutError()], ids=str)
async def test_write_of_which_no_byte_left_is_known_not_to_have_happened(error: Exception) -> None:
    assert not isinstance(await fail_after_sends(0, error), OutcomeUnknown)


@pytest.mark.parametrize(
    ("sends", "error"),
    [(1, CLOSED), (1, REFUSED), (1, TimeoutError()), (2, answer("SlowDown", 503)), (2, REFUSED)],
    ids=str,
)
async def test_write_whose_bytes_left_before_is_unknown(sends: int, error: Exception) -> None:
    assert isinstance(await fail_after_sends(sends, error), OutcomeUnknown)


async def test_refusal_of_the_only_attempt_is_believed() -> None:
    assert type(await fail_after_sends(1, answer("SlowDown", 503))) is StoreUnavailable


async def test_full_store_is_told_whatever_came_before() -> None:
    assert type(await fail_after_sends(3, answer("XMinioStorageFull", 507))) is StoreFull


async def test_deadline_ends_a_call_that_hangs() -> None:
    with pytest.raises(StoreTimeout):
        async with s3_call(0.01):
            await asyncio.Event().wait()


async def test_cancellation_stays_a_cancellation_and_lets_the_chunks_go() -> None:
    body = PartBody([b"x"])

    async def hang() -> None:
        async with s3_call(5, write=True, body=body):
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [chunk async for chunk in body] == []
