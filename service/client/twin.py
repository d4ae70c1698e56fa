"""The blocking client. Made out of the async one by `python tests/blocking_client.py`: change that
one, and make this one again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from os import PathLike
from typing import Any

from service.client.answers import (
    BucketInfo,
    DeletionJob,
    Expansion,
    ObjectInfo,
    Page,
    Removal,
    UploadInfo,
    VersionInfo,
)
from service.client.base import ignore
from service.client.blocking import BlockingArchive, BlockingClient, BlockingDownload
from service.client.download import Download
from service.client.patience import Progress
from service.client.sources import Source
from service.client.upload import PutOptions
from service.client.upload_journal import UploadJournal
from service.client.writing import NO_OPTIONS


class Mediagate(BlockingClient):
    """`with Mediagate("http://127.0.0.1:8080", "mg_…") as mediagate:`

    What AsyncMediagate does, without async: from any thread, after a fork, inside a running loop.
    Without `with` it connects at the first call and ends with `close()`.
    """

    def delete(
        self, bucket: str, key: str, *, version: str | None = None, if_match: str | None = None
    ) -> str | None:
        """Delete an object; one that is not there is no error.

        In a bucket with versions this adds a delete marker, whose id is returned, and `version`
        removes one version, or one marker, for good. Sent once: a second attempt might meet an
        object that somebody stored in between.
        """
        return self._run(
            lambda mediagate: mediagate.delete(bucket, key, version=version, if_match=if_match)
        )

    def delete_many(self, bucket: str, keys: Iterable[str]) -> Iterator[Removal]:
        """Delete objects, a thousand a request, each request once; what became of each key.

        for removal in mediagate.delete_many("films", ["one.mp4", "two.mp4"]):
            print(removal.key, removal.status)
        """
        return self._iterate(lambda mediagate: mediagate.delete_many(bucket, keys))

    def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        wait: bool = True,
        progress: Callable[[DeletionJob], None] | None = None,
    ) -> DeletionJob:
        """Delete all objects whose keys start with the prefix, as a job of the service.

        wait: until the job is over; else it has just begun, and `deletion` tells how far it is.
        progress: told the job at every look.
        """
        return self._run(
            lambda mediagate: mediagate.delete_prefix(bucket, prefix, wait=wait, progress=progress)
        )

    def deletion(self, bucket: str, job: str) -> DeletionJob:
        """How far the deletion of a prefix is. job: its id."""
        return self._run(lambda mediagate: mediagate.deletion(bucket, job))

    def put(
        self,
        bucket: str,
        key: str,
        source: Source,
        options: PutOptions = NO_OPTIONS,
        *,
        resumable: bool | None = None,
        journal: UploadJournal | None = None,
        progress: Progress = ignore,
    ) -> ObjectInfo:
        """Store a file, bytes, a file object or chunks as the latest version of the key.

        source: a `str` is a path. What can be read again (a path, bytes, a file object that seeks)
        goes on where it was when the connection breaks, or is sent again where it is small; chunks
        are sent once. DigestMismatch says that the service stored other bytes than were read here.

        resumable: None for what has 64 MiB or more. journal: remembers unfinished uploads of paths,
        so that the same call after a crash goes on; without one, an upload that fails is ended.

            info = mediagate.put("films", "one.mp4", Path("one.mp4"))
            mediagate.put("films", "note", b"hi", PutOptions(content_type="text/plain"))
        """
        return self._run(
            lambda mediagate: mediagate.put(
                bucket,
                key,
                source,
                options,
                resumable=resumable,
                journal=journal,
                progress=progress,
            )
        )

    def patch(
        self, bucket: str, key: str, changes: Mapping[str, Any], *, if_match: str | None = None
    ) -> ObjectInfo:
        """Change metadata: a JSON merge patch over content_type, cache_control, content_encoding,
        content_language, filename, user_metadata and tags; None takes away. Sent once.

        if_match: `metadata_etag` of what was read, else PreconditionFailed.

            mediagate.patch("films", "one.mp4", {"tags": {"seen": "yes", "new": None}})
        """
        return self._run(lambda mediagate: mediagate.patch(bucket, key, changes, if_match=if_match))

    def restore(self, bucket: str, key: str, version: str) -> ObjectInfo:
        """Make an old version the latest one again, as a new version. Sent once."""
        return self._run(lambda mediagate: mediagate.restore(bucket, key, version))

    def copy(
        self,
        bucket: str,
        key: str,
        to_key: str,
        *,
        to_bucket: str | None = None,
        version: str | None = None,
        create_only: bool = False,
    ) -> ObjectInfo:
        """Copy an object inside the store; the copy's facts. to_bucket: None for the same.

        Sent again under one Idempotency-Key when the connection breaks.

            mediagate.copy("films", "one.mp4", "archive/one.mp4", to_bucket="old")
        """
        return self._run(
            lambda mediagate: mediagate.copy(
                bucket, key, to_key, to_bucket=to_bucket, version=version, create_only=create_only
            )
        )

    def move(
        self,
        bucket: str,
        key: str,
        to_key: str,
        *,
        to_bucket: str | None = None,
        if_match: str | None = None,
        create_only: bool = False,
    ) -> ObjectInfo:
        """Give an object another name, at once and whole; its facts there. Sent once.

        if_match: quoted entity tag that the source must have, else PreconditionFailed.
        """
        return self._run(
            lambda mediagate: mediagate.move(
                bucket, key, to_key, to_bucket=to_bucket, if_match=if_match, create_only=create_only
            )
        )

    def expand(
        self,
        bucket: str,
        source: Source,
        *,
        format: str = "zip",
        prefix: str = "",
        atomic: bool = True,
        progress: Progress = ignore,
    ) -> Expansion:
        """Unpack an archive (zip, tar, tar.gz) on its way in: one object for each entry. Sent once.

        atomic: all entries or none; else each for itself, and the answer tells which failed.
        """
        return self._run(
            lambda mediagate: mediagate.expand(
                bucket, source, format=format, prefix=prefix, atomic=atomic, progress=progress
            )
        )

    def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
    ) -> AbstractContextManager[BlockingDownload]:
        """Bytes [start, end) of an object, as a context around an iterable of chunks.

        Breaks are mended by range on the same version; PreconditionFailed if it was replaced.

            with mediagate.get("films", "one.mp4", start=1000) as download:
                for chunk in download:
                    print(len(chunk), "of", download.size_bytes)
        """
        return self._open(
            lambda mediagate: mediagate.get(bucket, key, start=start, end=end, version=version),
            BlockingDownload,
        )

    def get_bytes(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
    ) -> bytes:
        """The same bytes at once, in memory."""
        return self._run(
            lambda mediagate: mediagate.get_bytes(
                bucket, key, start=start, end=end, version=version
            )
        )

    def get_to_file(
        self,
        bucket: str,
        key: str,
        path: str | PathLike[str],
        *,
        version: str | None = None,
        progress: Progress = ignore,
    ) -> Download:
        """The whole object as a file, verified, which appears at once and durable or not at all.

        What an earlier call left in its part file beside `path` is not fetched again.
        """
        return self._run(
            lambda mediagate: mediagate.get_to_file(
                bucket, key, path, version=version, progress=progress
            )
        )

    def stat(self, bucket: str, key: str, *, version: str | None = None) -> ObjectInfo:
        """The facts of an object. Raises ObjectNotFound."""
        return self._run(lambda mediagate: mediagate.stat(bucket, key, version=version))

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose keys start with the prefix, in the order of their keys.

        for info in mediagate.list("films", "2026/"):
            print(info.key, info.size_bytes)
        """
        return self._iterate(lambda mediagate: mediagate.list(bucket, prefix))

    def pages(
        self, bucket: str, prefix: str = "", *, delimiter: str | None = None, limit: int = 1000
    ) -> Iterator[Page]:
        """All pages; one may be short, even empty. limit: entries of a page, 1 to 1000.

        delimiter: "/" for the objects and folders of one level.
        """
        return self._iterate(
            lambda mediagate: mediagate.pages(bucket, prefix, delimiter=delimiter, limit=limit)
        )

    def search(
        self,
        bucket: str,
        words: str | None = None,
        *,
        prefix: str = "",
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
        user_metadata: Mapping[str, str] | None = None,
        size_min: int | None = None,
        size_max: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: str = "key",
        limit: int = 1000,
    ) -> Iterator[ObjectInfo]:
        """All objects that fulfil every condition.

        words: each is the start of a word of the key, the file name or a metadata value; case and
        accents do not count. content_type: `video/mp4` or `video/*`. size_min, size_max: bytes,
        both included. since: included, until: not; of the time when the version was stored.
        sort: key, created or size, with `-` in front downwards. limit: entries of a page.

            for info in mediagate.search("films", "sea", tags={"year": "2026"}):
                print(info.key)
        """
        return self._iterate(
            lambda mediagate: mediagate.search(
                bucket,
                words,
                prefix=prefix,
                content_type=content_type,
                tags=tags,
                user_metadata=user_metadata,
                size_min=size_min,
                size_max=size_max,
                since=since,
                until=until,
                sort=sort,
                limit=limit,
            )
        )

    def versions(self, bucket: str, key: str) -> Iterator[VersionInfo]:
        """The history of a key, the newest first, delete markers included."""
        return self._iterate(lambda mediagate: mediagate.versions(bucket, key))

    def archive(
        self, bucket: str, prefix: str = "", *, format: str = "zip"
    ) -> AbstractContextManager[BlockingArchive]:
        """All objects under a prefix as one zip or tar, made while it is read.

        A break of the connection raises Unreachable: an archive cannot be gone on with.
        """
        return self._open(
            lambda mediagate: mediagate.archive(bucket, prefix, format=format), BlockingArchive
        )

    def archive_to_file(
        self,
        bucket: str,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        format: str = "zip",
        progress: Progress = ignore,
    ) -> int:
        """The same as a file, which appears whole or not at all; how many bytes it has."""
        return self._run(
            lambda mediagate: mediagate.archive_to_file(
                bucket, path, prefix, format=format, progress=progress
            )
        )

    def buckets(self) -> Iterator[BucketInfo]:
        """All buckets that the key may see."""
        return self._iterate(lambda mediagate: mediagate.buckets())

    def bucket(self, bucket: str) -> BucketInfo:
        """The settings of a bucket. Raises BucketNotFound."""
        return self._run(lambda mediagate: mediagate.bucket(bucket))

    def make_bucket(self, bucket: str, *, versioning: bool | None = None) -> BucketInfo:
        """Make a bucket. Raises BucketExists where it has other settings. versioning: None for
        the default."""
        return self._run(lambda mediagate: mediagate.make_bucket(bucket, versioning=versioning))

    def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty."""
        return self._run(lambda mediagate: mediagate.delete_bucket(bucket))

    def uploads(self) -> Iterator[UploadInfo]:
        """Unfinished uploads that were begun with this API key, the oldest first.

        A `put` that is under way is among them.
        """
        return self._iterate(lambda mediagate: mediagate.uploads())

    def end_upload(self, upload: str) -> None:
        """End an unfinished upload: nothing of it is left. Sent once. upload: its id.

        One that is complete has become a version, which stays. Raises UploadNotFound, UploadGone.
        """
        return self._run(lambda mediagate: mediagate.end_upload(upload))
