"""Calls that bring bytes and facts of objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from os import PathLike
from pathlib import Path

from service.client.answers import ObjectInfo, Page, VersionInfo, VersionPage
from service.client.archive import Archive, archive_to_file, open_archive
from service.client.base import Base, ignore
from service.client.connection import bucket_path, object_path
from service.client.download import Download, Target, open_download, range_headers
from service.client.file_download import get_to_file
from service.client.patience import Progress
from service.client.query import search_query


class Reading(Base):
    def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
    ) -> AbstractAsyncContextManager[Download]:
        """Bytes [start, end) of an object, as a context around an iterable of chunks.

        Breaks are mended by range on the same version; PreconditionFailed if it was replaced.

            async with mediagate.get("films", "one.mp4", start=1000) as download:
                async for chunk in download:
                    print(len(chunk), "of", download.size_bytes)
        """
        target = Target(bucket, key, version)
        return open_download(self._connection, target, range_headers(start, end))

    async def get_bytes(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
    ) -> bytes:
        """The same bytes at once, in memory."""
        async with self.get(bucket, key, start=start, end=end, version=version) as download:
            return b"".join([chunk async for chunk in download])

    async def get_to_file(
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
        target = Target(bucket, key, version)
        return await get_to_file(self._connection, target, Path(path), progress)

    async def stat(self, bucket: str, key: str, *, version: str | None = None) -> ObjectInfo:
        """The facts of an object. Raises ObjectNotFound."""
        query = {"version": version} if version else None
        path = object_path(bucket, key, "metadata")
        return await self._connection.read(path, ObjectInfo, query=query)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose keys start with the prefix, in the order of their keys.

        async for info in mediagate.list("films", "2026/"):
            print(info.key, info.size_bytes)
        """
        async for page in self.pages(bucket, prefix):
            for item in page.items:
                yield item

    async def pages(
        self, bucket: str, prefix: str = "", *, delimiter: str | None = None, limit: int = 1000
    ) -> AsyncIterator[Page]:
        """All pages; one may be short, even empty. limit: entries of a page, 1 to 1000.

        delimiter: "/" for the objects and folders of one level.
        """
        query = {"prefix": prefix, "limit": str(limit)}
        if delimiter:
            query["delimiter"] = delimiter
        async for page in self._pages(bucket, query):
            yield page

    async def search(
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
    ) -> AsyncIterator[ObjectInfo]:
        """All objects that fulfil every condition.

        words: each is the start of a word of the key, the file name or a metadata value; case and
        accents do not count. content_type: `video/mp4` or `video/*`. size_min, size_max: bytes,
        both included. since: included, until: not; of the time when the version was stored.
        sort: key, created or size, with `-` in front downwards. limit: entries of a page.

            async for info in mediagate.search("films", "sea", tags={"year": "2026"}):
                print(info.key)
        """
        query = search_query(
            words=words,
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
        async for page in self._pages(bucket, query):
            for item in page.items:
                yield item

    async def versions(self, bucket: str, key: str) -> AsyncIterator[VersionInfo]:
        """The history of a key, the newest first, delete markers included."""
        query = {"limit": "1000"}
        path = object_path(bucket, key, "versions")
        while True:
            page = await self._connection.read(path, VersionPage, query=query)
            for item in page.items:
                yield item
            if page.next is None:
                return
            query["cursor"] = page.next

    def archive(
        self, bucket: str, prefix: str = "", *, format: str = "zip"
    ) -> AbstractAsyncContextManager[Archive]:
        """All objects under a prefix as one zip or tar, made while it is read.

        A break of the connection raises Unreachable: an archive cannot be gone on with.
        """
        return open_archive(self._connection, bucket, prefix, format)

    async def archive_to_file(
        self,
        bucket: str,
        path: str | PathLike[str],
        prefix: str = "",
        *,
        format: str = "zip",
        progress: Progress = ignore,
    ) -> int:
        """The same as a file, which appears whole or not at all; how many bytes it has."""
        return await archive_to_file(self._connection, bucket, prefix, format, Path(path), progress)

    async def _pages(self, bucket: str, query: dict[str, str]) -> AsyncIterator[Page]:
        path = f"{bucket_path(bucket)}/objects"
        while True:
            page = await self._connection.read(path, Page, query=query)
            yield page
            if page.next is None:
                return
            query["cursor"] = page.next
