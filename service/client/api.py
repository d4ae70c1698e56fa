"""What a program calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

from service.client.answers import BucketInfo, BucketPage, UploadInfo, UploadPage
from service.client.connection import bucket_path, parse
from service.client.reading import Reading
from service.client.removing import Removing
from service.client.writing import Writing
from service.protocol.tus import UPLOADS, upload_path


class AsyncMediagate(Reading, Writing, Removing):
    """`async with AsyncMediagate("http://127.0.0.1:8080", "mg_…") as mediagate:`

    Every call raises errors of `service.errors`, and Unreachable once patience is over.
    on_retry: told before each pause of a call that is going to be tried again.
    """

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

    async def bucket(self, bucket: str) -> BucketInfo:
        """The settings of a bucket. Raises BucketNotFound."""
        return await self._connection.read(bucket_path(bucket), BucketInfo)

    async def make_bucket(self, bucket: str, *, versioning: bool | None = None) -> BucketInfo:
        """Make a bucket. Raises BucketExists where it has other settings. versioning: None for
        the default."""
        settings = None if versioning is None else {"versioning": versioning}
        reply = await self._connection.send("PUT", bucket_path(bucket), json=settings)
        return parse(reply.body, BucketInfo)

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket. Raises BucketNotFound, BucketNotEmpty."""
        await self._connection.send("DELETE", bucket_path(bucket))

    async def uploads(self) -> AsyncIterator[UploadInfo]:
        """Unfinished uploads that were begun with this API key, the oldest first.

        A `put` that is under way is among them.
        """
        query = {"limit": "1000"}
        while True:
            page = await self._connection.read(UPLOADS, UploadPage, query=query)
            for upload in page.items:
                yield upload
            if page.next is None:
                return
            query["cursor"] = page.next

    async def end_upload(self, upload: str) -> None:
        """End an unfinished upload: nothing of it is left. Sent once. upload: its id.

        One that is complete has become a version, which stays. Raises UploadNotFound, UploadGone.
        """
        await self._connection.send("DELETE", upload_path(upload))
