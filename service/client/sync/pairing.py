"""Two sides in the order of their names, side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from service.client.answers import ObjectInfo
from service.client.api import AsyncMediagate
from service.client.checksum import NAME
from service.client.io_thread import BlockingThread
from service.client.sync.digest_cache import DigestCache
from service.client.sync.local_tree import LocalFile, Problem, local_files
from service.errors import Invalid


class Place(NamedTuple):
    """A prefix of a bucket, empty or with `/` at its end."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, bucket: str, key: str) -> Place:
        return cls(bucket, key if not key or key.endswith("/") else f"{key}/")

    def __str__(self) -> str:
        return f"mg://{self.bucket}/{self.prefix}"


class Pair(NamedTuple):
    """At least one of the two is there."""

    name: str
    local: LocalFile | None
    remote: ObjectInfo | None


async def pairs(
    mediagate: AsyncMediagate,
    folder: Path,
    place: Place,
    problem: Problem,
    *,
    may_lack: bool = False,
) -> AsyncIterator[Pair]:
    """problem: told what cannot be read. may_lack: the folder may be missing.

    Raises OSError and what the listing raises.
    """
    remotes = mediagate.list(place.bucket, place.prefix)
    async with aclosing(local_files(folder, problem, may_lack=may_lack)) as locals_:
        local, remote = await anext(locals_, None), await anext(remotes, None)
        while local is not None or remote is not None:
            ours = local.name if local else None
            theirs = remote.key[len(place.prefix) :] if remote else None
            first = min((name for name in (ours, theirs) if name is not None), key=str.encode)
            pair = Pair(
                first,
                local if ours == first else None,
                remote if theirs == first else None,
            )
            if pair.local:
                local = await anext(locals_, None)
            if pair.remote:
                remote = await anext(remotes, None)
            yield pair


async def is_same(thread: BlockingThread, cache: DigestCache, pair: Pair) -> bool:
    """Both are there with the same bytes, as far as size and digest tell."""
    local, remote = pair.local, pair.remote
    if local is None or remote is None or local.state.size_bytes != remote.size_bytes:
        return False
    there = remote.digest(NAME)
    if there is None:
        return False
    return await thread.run(cache.digest, local.path, local.state) == there


def path_of(folder: Path, name: str) -> Path:
    """Where an object's bytes go. Raises Invalid for a name that would leave the folder."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise Invalid(f"{name!r} is no name of a file")
    return folder / name
