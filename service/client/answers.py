"""What the service answers, as values. Fields that are not known here are passed over."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ObjectInfo(_Answer):
    """One version of an object. etag: quoted. digests: base64 by the names of Repr-Digest."""

    bucket: str
    key: str
    version: str
    etag: str
    size_bytes: int
    content_type: str
    sniffed_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    filename: str | None = None
    digests: dict[str, str] = Field(default_factory=dict)
    user_metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    created_at: datetime
    modified_at: datetime

    def digest(self, name: str) -> bytes | None:
        """Raw bytes, None where the service told none."""
        try:
            return base64.b64decode(self.digests[name], validate=True)
        except (KeyError, binascii.Error):
            return None


class BucketInfo(_Answer):
    name: str
    created_at: datetime
    max_object_size_bytes: int | None = None
    allowed_content_types: tuple[str, ...] = ()
    cache_control: str | None = None
    delivery: str = "proxy"


class Page(_Answer):
    """items in key order; prefixes: what the delimiter cut off."""

    items: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...] = ()
    next: str | None = None


class BucketPage(_Answer):
    items: tuple[BucketInfo, ...]
    next: str | None = None
