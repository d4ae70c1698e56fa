"""What the service answers, as values. Fields that are not known here are passed over."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Literal

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
    revision: int = 1

    @property
    def metadata_etag(self) -> str:
        """Quoted; what `patch(…, if_match=…)` compares."""
        return f'"{self.version}.{self.revision}"'

    def digest(self, name: str) -> bytes | None:
        """Raw bytes, None where the service told none."""
        try:
            return base64.b64decode(self.digests[name], validate=True)
        except (KeyError, binascii.Error):
            return None


class VersionInfo(_Answer):
    """An entry of a key's history. A delete marker has no size, type or entity tag."""

    bucket: str = ""
    key: str
    version: str
    latest: bool
    delete_marker: bool = False
    created_at: datetime
    modified_at: datetime | None = None
    etag: str | None = None
    size_bytes: int | None = None
    content_type: str | None = None
    digests: dict[str, str] | None = None
    user_metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None


class VersionPage(_Answer):
    items: tuple[VersionInfo, ...]
    next: str | None = None


class UploadInfo(_Answer):
    """An upload that is not complete. kind: `whole`, or `partial` (one that is to be joined with
    others, and has no object yet). offset: bytes that are safe. length_bytes: None while unknown.
    """

    id: str
    url: str
    kind: str = "whole"
    bucket: str = ""
    key: str = ""
    offset: int
    length_bytes: int | None = None
    created_at: datetime
    expires_at: datetime | None = None


class UploadPage(_Answer):
    items: tuple[UploadInfo, ...]
    next: str | None = None


class BucketInfo(_Answer):
    name: str
    created_at: datetime
    max_object_size_bytes: int | None = None
    allowed_content_types: tuple[str, ...] = ()
    cache_control: str | None = None
    delivery: str = "proxy"
    versioning: bool = False


class Page(_Answer):
    """items in the order asked for; prefixes: what the delimiter cut off."""

    items: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...] = ()
    next: str | None = None


class BucketPage(_Answer):
    items: tuple[BucketInfo, ...]
    next: str | None = None


class Removal(_Answer):
    """What became of one key. problem: why it failed, as problem+json."""

    key: str
    status: Literal["deleted", "absent", "failed"]
    problem: dict[str, Any] | None = None


class Removals(_Answer):
    results: tuple[Removal, ...]


class DeletionJob(_Answer):
    """The deletion of a prefix, which goes on without whoever asked for it."""

    id: str
    state: str
    deleted: int = 0
    failed: int = 0

    @property
    def running(self) -> bool:
        return self.state == "running"


class Entry(_Answer):
    """One entry of an archive that was unpacked: an object, or what was wrong with it."""

    name: str | None = None
    key: str | None = None
    version: str | None = None
    size_bytes: int | None = None
    problem: Any = None


class Expansion(_Answer):
    """What unpacking an archive made."""

    items: tuple[Entry, ...]
    created: int = 0
    failed: int = 0
