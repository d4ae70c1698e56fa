"""What one request adds to a resumable upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """offset: where the body belongs; that of the upload.

    length_bytes: of the whole, where this request or an earlier one told. size_bytes: of the body,
    None for an unknown length. closes: whether no byte follows the body; None where that is so once
    the length is reached. expected_digests: of the body.
    """

    offset: int
    length_bytes: int | None = None
    size_bytes: int | None = None
    closes: bool | None = None
    expected_digests: Mapping[str, bytes] = field(default_factory=dict)
