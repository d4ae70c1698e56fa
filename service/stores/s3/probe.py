"""What an S3 store can really do, found by trying it.

A store that takes a checksum header and never looks at it says nothing of that; so each
algorithm is tried with a wrong checksum first, which must be refused, in a part and in a
PutObject, and then with a right one through to a finished blob. All of it happens under probe
keys, which are removed again. One attempt for each request: a refusal is the expected answer.
"""

from __future__ import annotations

from typing import Any

from awscrt import checksums
from botocore.exceptions import ClientError

from service.errors import MediagateError, StoreRefused
from service.model.blob import PartChecksum, StoreAbilities
from service.model.upload import Part
from service.settings import S3
from service.stores.blob_layout import new_probe_key
from service.stores.s3.checksums import MULTIPART, BodyChecksum, as_listed, checksum_of
from service.stores.s3.clients import Clients
from service.stores.s3.translation import error_code, http_status, s3_call

_BODY = b"mediagate probes what this store can do"


async def probe_store(clients: Clients, settings: S3) -> StoreAbilities:
    """The best part checksum that the store verifies, or the configured one, and what is wrong."""
    client, timeout_s = clients.once, settings.request_timeout_s
    problems = [
        *await _versioning_problems(client, settings.bucket, timeout_s),
        *await _lock_problems(client, settings.bucket, timeout_s),
    ]
    wanted = settings.part_checksum
    candidates = list(PartChecksum) if wanted == "auto" else [PartChecksum(wanted)]
    for algorithm in candidates:
        async with s3_call(timeout_s):
            if await _verifies(client, settings.bucket, algorithm):
                copies = await _copies_parts(client, settings.bucket)
                return StoreAbilities(algorithm, tuple(problems), copies)
    names = ", ".join(candidates)
    problems.append(f"the S3 store does not verify checksums of parts (tried: {names})")
    return StoreAbilities(candidates[-1], tuple(problems))


async def _versioning_problems(client: Any, bucket: str, timeout_s: float) -> list[str]:
    try:
        async with s3_call(timeout_s):
            answer = await client.get_bucket_versioning(Bucket=bucket)
    except MediagateError as error:
        return _unreadable("versioning", bucket, error)
    if answer.get("Status") != "Enabled":
        return []
    return [f"versioning is on for S3 bucket {bucket}: a DELETE would free nothing"]


async def _lock_problems(client: Any, bucket: str, timeout_s: float) -> list[str]:
    try:
        async with s3_call(timeout_s):
            answer = await client.get_object_lock_configuration(Bucket=bucket)
    except MediagateError as error:
        return _unreadable("object lock", bucket, error)
    if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
        return []
    return [f"object lock is on for S3 bucket {bucket}: a DELETE would free nothing"]


def _unreadable(what: str, bucket: str, error: MediagateError) -> list[str]:
    """No problem where the store has no such thing; one where it may not be looked at."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        raise error
    code, status = error_code(cause), http_status(cause)
    if code in ("ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"):
        return []
    if status == 501 or (status < 500 and isinstance(error, StoreRefused)):
        return []
    if status == 403:
        return [f"the S3 key may not read the {what} of bucket {bucket}: {code}"]
    raise error


async def _verifies(client: Any, bucket: str, algorithm: PartChecksum) -> bool:
    """Whether the store refuses a wrong checksum and takes a right one, both ways in."""
    crc64nvme = checksums.crc64nvme(_BODY).to_bytes(8, "big")
    right = await checksum_of(algorithm, [_BODY], crc64nvme)
    wrong = BodyChecksum(algorithm, bytes(byte ^ 0xFF for byte in right.raw))
    try:
        return await _put_verifies(client, bucket, wrong) and await _part_verifies(
            client, bucket, wrong, right
        )
    except ClientError as error:
        if http_status(error) in (400, 501):
            return False  # it does not know the algorithm
        raise


async def _put_verifies(client: Any, bucket: str, wrong: BodyChecksum) -> bool:
    at = {"Bucket": bucket, "Key": new_probe_key()}
    try:
        return await _refuses(client.put_object(**at, Body=_BODY, **wrong.params))
    finally:
        await client.delete_object(**at)


async def _part_verifies(
    client: Any, bucket: str, wrong: BodyChecksum, right: BodyChecksum
) -> bool:
    at = {"Bucket": bucket, "Key": new_probe_key()}
    declared = MULTIPART[right.algorithm]
    upload = (await client.create_multipart_upload(**at, **declared))["UploadId"]
    part = {**at, "UploadId": upload, "PartNumber": 1, "Body": _BODY}
    try:
        if not await _refuses(client.upload_part(**part, **wrong.params)):
            return False
        etag = (await client.upload_part(**part, **right.params))["ETag"]
        listed = as_listed(Part(1, len(_BODY), etag, right.kept))
        await client.complete_multipart_upload(
            **at, UploadId=upload, MultipartUpload={"Parts": [listed]}
        )
        return int((await client.head_object(**at))["ContentLength"]) == len(_BODY)
    finally:
        # After a Complete, stores answer an Abort with 204 or NoSuchUpload; both are fine.
        await _refuses(client.abort_multipart_upload(**at, UploadId=upload))
        await client.delete_object(**at)


async def _copies_parts(client: Any, bucket: str) -> bool:
    source = {"Bucket": bucket, "Key": new_probe_key()}
    at = {"Bucket": bucket, "Key": new_probe_key()}
    await client.put_object(**source, Body=_BODY)
    upload = (await client.create_multipart_upload(**at))["UploadId"]
    part = {"UploadId": upload, "PartNumber": 1, "CopySource": source}
    try:
        await client.upload_part_copy(**at, **part)
    except ClientError as error:
        if http_status(error) in (400, 405, 501):
            return False
        raise
    else:
        return True
    finally:
        await _refuses(client.abort_multipart_upload(**at, UploadId=upload))
        await client.delete_object(**source)


async def _refuses(call: Any) -> bool:
    """Whether the store answers with an error of the 4xx kind; others are raised."""
    try:
        await call
    except ClientError as error:
        if 400 <= http_status(error) < 500 and http_status(error) not in (401, 403, 429):
            return True
        raise
    return False
