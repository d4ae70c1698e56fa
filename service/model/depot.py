"""What lies in a depot: a place outside of the service that holds objects under their own names, a
prefix of an S3 bucket or a folder. Objects are imported from there, and exported to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.model.version import ObjectFacts

MANIFEST = "mediagate-manifest.jsonl"
"""The name of the list of what an export wrote; it is no object."""


@dataclass(frozen=True, slots=True)
class DepotItem:
    """An entry of the depot's listing. mark: another one whenever the bytes may be others."""

    name: str
    size_bytes: int
    mark: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class DepotContent:
    """An item that is being read. facts: as far as the depot knows any. chunks: of >= 1 byte."""

    facts: ObjectFacts
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Exported:
    """One line of the manifest: what an object is called in the depot, and its metadata.

    digests: raw bytes by the names of Repr-Digest.
    """

    name: str
    size_bytes: int
    version: str
    created_at: datetime
    modified_at: datetime
    facts: ObjectFacts
    digests: Mapping[str, bytes] = field(default_factory=dict)
