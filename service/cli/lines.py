"""An object as a line of a listing."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client import ObjectInfo


def object_line(info: ObjectInfo, *, long: bool) -> str:
    """long: size, time and type too."""
    if not long:
        return info.key
    modified = info.modified_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{info.size_bytes:>15}  {modified}  {info.content_type:24}  {info.key}"


def folder_line(prefix: str, *, long: bool) -> str:
    return f"{'':>15}  {'':20}  {'':24}  {prefix}" if long else prefix
