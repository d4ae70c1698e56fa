"""Values of resumable uploads <-> documents, both ways; documents.py says what holds for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.model.resumable import Piece, Progress, ResumableTerms, Span, UploadKind
from service.stores.mongo.documents import pairs_in, pairs_out
from service.stores.mongo.driver import Document


def terms_in(terms: ResumableTerms) -> Document:
    return {
        "principal": terms.principal,
        "bucket": terms.bucket,
        "kind": terms.kind.value,
        "told_metadata": terms.told_metadata,
        "told_concat": terms.told_concat,
        "expected_digests": pairs_in(terms.expected_digests),
        "wanted_digests": sorted(terms.wanted_digests),
    }


def terms_out(document: Document) -> ResumableTerms:
    return ResumableTerms(
        principal=document["principal"],
        bucket=document["bucket"],
        kind=UploadKind(document["kind"]),
        told_metadata=document["told_metadata"],
        told_concat=document["told_concat"],
        expected_digests=pairs_out(document["expected_digests"]),
        wanted_digests=frozenset(document["wanted_digests"]),
    )


def first_progress(length_bytes: int | None) -> Document:
    """What an upload has that was just admitted. `listed`: it is among those that may go on."""
    return {"progress": progress_in(Progress(length_bytes)), "parts": [], "listed": True}


def progress_in(progress: Progress) -> Document:
    """`span` and `tail` exist only where there are any: an index finds spans by their age."""
    told = asdict(progress)
    return {name: value for name, value in told.items() if value is not None}


def progress_out(document: Document) -> Progress:
    told = dict(document)
    told["segments"] = tuple(map(_piece, told["segments"]))
    for name, kind in (("span", Span), ("tail", Piece)):
        if name in told:
            told[name] = kind(**told[name])
    return Progress(**told)


def _piece(document: Mapping[str, Any]) -> Piece:
    return Piece(**document)
