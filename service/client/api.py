"""What a program calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType

from service.client.answers import BucketInfo, BucketPage, ObjectInfo, Page
from service.client.connection import Connection, Timeouts, bucket_path, object_path
from service.client.download import Download, Target, open_download, range_headers
from service.client.file_download import get_to_file
from service.client.patience import Notice, Progress
from service.client.upload import PutOptions, put_file, put_stream

_NO_OPTIONS = PutOptions()


def _ignore(done_bytes: int, size_bytes: int | None) -> None:
    """Nobody watches."""


class AsyncMediagate:
    """`async with AsyncMediagate("http://127.0.0.1:8080", "mg_…") as mediagate:`

    Every call raises errors of `service.errors`, and Unreachable once patience is over.
    on_retry: told before each pause of a call that is going to be tried again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeouts: Timeouts | None = None,
        on_retry: Notice | None = None,
    ) -> None:
        self._arguments = (url, key, timeouts or Timeouts(), on_retry)

    async def __aenter__(self) -> AsyncMediagate:
        self._connection = Connection(*self._arguments)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def put(
        self,
        bucket: str,
        key: str,
        source: Path | AsyncIterator[bytes],
        options: PutOptions = _NO_OPTIONS,
        *,
        progress: Progress = _ignore,
    ) -> ObjectInfo:
        """Store a file, or chunks of unknown length, as the latest version of the key.

        A file is sent again when the connection breaks; chunks are sent once. DigestMismatch says
        that the service stored other bytes than were read here.
        """
        if isinstance(source, Path):
            return await put_file(self._connection, bucket, key, source, options, progress)
        return await put_stream(self._connection, bucket, key, source, options, progress)

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
        """
        target = Target(bucket, key, version)
        return open_download(self._connection, target, range_headers(start, end))

    async def get_to_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        version: str | None = None,
        progress: Progress = _ignore,
    ) -> Download:
        """The whole object as a file, verified, which appears at once and durable or not at all.

        What an earlier call left in its part file beside `path` is not fetched again.
        """
        target = Target(bucket, key, version)
        return await get_to_file(self._connection, target, path, progress)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose keys start with the prefix, in the order of their keys."""
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
        path = f"{bucket_path(bucket)}/objects"
        while True:
            page = await self._connection.read(path, Page, query=query)
            yield page
            if page.next is None:
                return
            query["cursor"] = page.next

    async def stat(self, bucket: str, key: str, *, version: str | None = None) -> ObjectInfo:
        """The facts of an object."""
        query = {"version": version} if version else None
        path = object_path(bucket, key, "metadata")
        return await self._connection.read(path, ObjectInfo, query=query)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """Delete an object; one that is not there is no error. version: only if it is the latest.

        Sent once: a second attempt might meet an object that somebody stored in between.
        """
        query = {"version": version} if version else None
        await self._connection.send("DELETE", object_path(bucket, key), query=query)

    async def buckets(self) -> AsyncIterator[BucketInfo]:
        """All buckets that the key may see."""
        query = {"limit": "1000"}
        while True:
            page = await self._connection.read("/v1/buckets", BucketPage, query=query)
            for bucket in page.items:
                yield bucket
            if page.next is None:
                return
            query["cursor"] = page.next

    async def make_bucket(self, bucket: str) -> None:
        """Make a bucket with default settings. Raises BucketExists where it has other settings."""
        await self._connection.send("PUT", bucket_path(bucket))

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty."""
        await self._connection.send("DELETE", bucket_path(bucket))
