"""Values of resumable uploads <-> columns of `uploads`, and rows of `upload_parts`.

`resumer` and `progress` stand in a row as long as its upload may go on, `span_ms` as long as it has
a multipart in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.model.ids import BlobKey, MultipartId
from service.model.resumable import Piece, Progress, ResumableTerms, Span, UploadKind
from service.model.upload import Part, Upload
from service.stores.sqlite.clock import in_ms, moment
from service.stores.sqlite.driver import Row
from service.stores.sqlite.rows import Values, digests_in, digests_out, json_in, json_out

Plain = Mapping[str, Any]


def terms_in(terms: ResumableTerms) -> Plain:
    return {
        "principal": terms.principal,
        "bucket": terms.bucket,
        "kind": terms.kind.value,
        "told_metadata": terms.told_metadata,
        "told_concat": terms.told_concat,
        "expected_digests": digests_in(terms.expected_digests),
        "wanted_digests": sorted(terms.wanted_digests),
    }


def terms_out(plain: Plain) -> ResumableTerms:
    return ResumableTerms(
        principal=plain["principal"],
        bucket=plain["bucket"],
        kind=UploadKind(plain["kind"]),
        told_metadata=plain["told_metadata"],
        told_concat=plain["told_concat"],
        expected_digests=digests_out(plain["expected_digests"]),
        wanted_digests=frozenset(plain["wanted_digests"]),
    )


def progress_values(terms: ResumableTerms | None, progress: Progress | None) -> Values:
    """The columns; all of them empty for an upload that does not go on."""
    if terms is None or progress is None:
        return {"resumer": None, "progress": None, "span_ms": None}
    return {
        "resumer": terms.principal,
        "progress": progress_in(progress),
        "span_ms": span_ms(progress),
    }


def span_ms(progress: Progress) -> int | None:
    """When the multipart in use was opened."""
    return None if progress.span is None else in_ms(progress.span.opened_at)


def progress_in(progress: Progress) -> str:
    return json_in(
        {
            "length_bytes": progress.length_bytes,
            "offset": progress.offset,
            "segments": [_piece_in(piece) for piece in progress.segments],
            "span": None if progress.span is None else _span_in(progress.span),
            "tail": None if progress.tail is None else _piece_in(progress.tail),
            "closed": progress.closed,
            "working": progress.working,
            "base_seq": progress.base_seq,
            "sniffed_type": progress.sniffed_type,
        }
    )


def progress_out(text: str) -> Progress:
    plain = json_out(text)
    span, tail = plain["span"], plain["tail"]
    return Progress(
        length_bytes=plain["length_bytes"],
        offset=plain["offset"],
        segments=tuple(map(_piece_out, plain["segments"])),
        span=None if span is None else _span_out(span),
        tail=None if tail is None else _piece_out(tail),
        closed=plain["closed"],
        working=plain["working"],
        base_seq=plain["base_seq"],
        sniffed_type=plain["sniffed_type"],
    )


def _piece_in(piece: Piece) -> list[object]:
    return [piece.blob_key, piece.size_bytes, piece.crc64nvme.hex()]


def _piece_out(plain: list[Any]) -> Piece:
    key, size_bytes, crc = plain
    return Piece(BlobKey(key), size_bytes, bytes.fromhex(crc))


def _span_in(span: Span) -> Plain:
    return {
        "blob_key": span.blob_key,
        "multipart_id": span.multipart_id,
        "opened_ms": in_ms(span.opened_at),
        "size_bytes": span.size_bytes,
        "crc64nvme": span.crc64nvme.hex(),
        "reserved": span.reserved,
        "of_copies": span.of_copies,
    }


def _span_out(plain: Plain) -> Span:
    return Span(
        blob_key=BlobKey(plain["blob_key"]),
        multipart_id=MultipartId(plain["multipart_id"]),
        opened_at=moment(plain["opened_ms"]),
        size_bytes=plain["size_bytes"],
        crc64nvme=bytes.fromhex(plain["crc64nvme"]),
        reserved=plain["reserved"],
        of_copies=plain["of_copies"],
    )


def part_in(upload: str, part: Part) -> Values:
    return {
        "upload_id": upload,
        "number": part.number,
        "size_bytes": part.size_bytes,
        "etag": part.etag,
        "checksum": part.checksum,
    }


def part_out(row: Row) -> Part:
    return Part(row["number"], row["size_bytes"], row["etag"], row["checksum"])


def upload_parts_in(upload: Upload) -> list[Values]:
    return [part_in(upload.ref.id, part) for part in upload.parts]
