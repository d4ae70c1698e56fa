"""What the ledger knows of a resumable upload: how far it is, and where its bytes lie.

    segments | parts of the span | tail          offset = the sum of their sizes
    objects  | one open multipart| one object

Bytes count once the store has them and this says so; so any replica can go on from here, and no
other record of the upload exists. The tail is shorter than a part may be (5 MiB), so it waits in an
object of its own for the bytes that follow it. A multipart lives for a bounded time in the store
and takes 10,000 parts; before it runs out of either it is completed, and is a segment from then on.
Segments are joined by the store at the end, where there is more than one.

No part number of a multipart is ever used by two owners: whoever sends parts has their numbers
noted before (`Span.reserved`), and whoever takes over goes on behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from service.model.ids import BlobKey, MultipartId


class UploadKind(StrEnum):
    """partial: becomes no version, only a part of a final one. final: joined of partial ones."""

    WHOLE = "whole"
    PARTIAL = "partial"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class ResumableTerms:
    """What was agreed on when the upload was created.

    principal: the API key or link that created it. bucket: its name then, "" for a partial one that
    names none. told_metadata, told_concat: tus's
    Upload-Metadata and Upload-Concat as they came, for they are told again. expected_digests,
    wanted_digests: of the whole, as for a PUT.
    """

    principal: str
    bucket: str = ""
    kind: UploadKind = UploadKind.WHOLE
    told_metadata: str | None = None
    told_concat: str | None = None
    expected_digests: Mapping[str, bytes] = field(default_factory=dict)
    wanted_digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an upload in an object of their own. crc64nvme: 8 raw bytes."""

    blob_key: BlobKey
    size_bytes: int
    crc64nvme: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """The multipart in use, and what is acknowledged of it.

    opened_at: by the database's clock. reserved: the greatest part number that anybody may have
    used. of_copies: it joins the segments, which it replaces once it is complete.
    """

    blob_key: BlobKey
    multipart_id: MultipartId
    opened_at: datetime
    size_bytes: int = 0
    crc64nvme: bytes = bytes(8)
    reserved: int = 0
    of_copies: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """length_bytes: None while nobody has said it. closed: no byte follows any more.

    working: somebody is appending, or died of it. base_seq: the key's `seq` when it was closed.
    """

    length_bytes: int | None = None
    offset: int = 0
    segments: tuple[Piece, ...] = ()
    span: Span | None = None
    tail: Piece | None = None
    closed: bool = False
    working: bool = False
    base_seq: int = 0
    sniffed_type: str | None = None

    @property
    def is_full(self) -> bool:
        return self.length_bytes is not None and self.offset == self.length_bytes
