"""Paths of a file system and what stands behind them: `bucket/key`, never with a slash at the end.

Folders are virtual: they are what keys have before a slash, and there are no empty ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from service.client.answers import ObjectInfo

Info: TypeAlias = dict[str, Any]
"""name, size and type as fsspec has them, and the facts of an object."""


class Name(NamedTuple):
    """Both empty for the root, key empty for a bucket."""

    bucket: str
    key: str

    @classmethod
    def of(cls, path: str) -> Name:
        """path: without the protocol."""
        bucket, _, key = path.partition("/")
        return cls(bucket, key)

    @property
    def prefix(self) -> str:
        """What the keys in this folder start with."""
        return f"{self.key}/" if self.key else ""


def folder_info(path: str) -> Info:
    return {"name": path, "size": 0, "type": "directory"}


def object_info(found: ObjectInfo) -> Info:
    """mtime: seconds, as of a local file. version: what a reader pins."""
    return {
        "name": f"{found.bucket}/{found.key}",
        "size": found.size_bytes,
        "type": "file",
        "created": found.created_at,
        "modified": found.modified_at,
        "mtime": found.modified_at.timestamp(),
        "version": found.version,
        "etag": found.etag,
        "content_type": found.content_type,
        "user_metadata": dict(found.user_metadata),
        "tags": dict(found.tags),
        "digests": dict(found.digests),
    }


def folders_between(top: str, paths: Iterable[str]) -> Iterator[str]:
    """Every folder below `top` that the paths, which all lie below it, have on their way."""
    seen = {top}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in seen:
            seen.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]
