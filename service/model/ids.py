"""Ids are ULIDs: 26 characters, sorted by the time they were made."""

from __future__ import annotations

from typing import NewType

from ulid import ULID

TenantId = NewType("TenantId", str)
BucketId = NewType("BucketId", str)
UploadId = NewType("UploadId", str)
VersionId = NewType("VersionId", str)
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)
EventId = NewType("EventId", str)
BlobKey = NewType("BlobKey", str)
"""The S3 key of a blob; made by `stores/blob_layout.py` only."""
MultipartId = NewType("MultipartId", str)

DEFAULT_TENANT = TenantId("default")


def new_id() -> str:
    """A fresh ULID."""
    return str(ULID())
