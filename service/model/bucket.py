"""A bucket: a named set of objects with settings. Documents point to its id, never to its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from service.model.ids import BucketId, TenantId


class BucketState(StrEnum):
    ACTIVE = "active"
    DELETING = "deleting"


class Delivery(StrEnum):
    """Who sends the bytes of a download: this service, or the store itself by a presigned URL."""

    PROXY = "proxy"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What the owner of a bucket may choose.

    max_object_size_bytes: None means the service's own limit.
    allowed_content_types: `image/png` or `image/*`; empty means any.
    cache_control: sent with objects that bring none of their own.
    versioning: an overwrite or a delete keeps the version that was there.
    """

    max_object_size_bytes: int | None = None
    allowed_content_types: tuple[str, ...] = ()
    cache_control: str | None = None
    delivery: Delivery = Delivery.PROXY
    versioning: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """has_kept: versioning was on at some time, so that keys may have more than one version."""

    id: BucketId
    tenant: TenantId
    name: str
    state: BucketState
    created_at: datetime
    revision: int = 1
    settings: BucketSettings = field(default_factory=BucketSettings)
    has_kept: bool = False

    @property
    def etag(self) -> str:
        """Strong entity tag without quotes; changes with every change of the settings."""
        return f"{self.id}.{self.revision}"
