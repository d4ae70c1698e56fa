"""An archive on its way in or out: streamed once, since nobody can go on with half of one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from aiohttp import ClientResponse

from service.client.answers import Expansion
from service.client.connection import Connection, bucket_path, parse
from service.client.file_download import sync_folder
from service.client.io_thread import CHUNK_BYTES, BlockingThread
from service.client.patience import Progress
from service.client.sources import Source, as_source
from service.client.upload_body import UploadBody, guarded


class Archive:
    """Chunks, to be iterated once, inside their context. An end that is no clean one raises."""

    def __init__(self, connection: Connection, response: ClientResponse) -> None:
        self.content_type = response.content_type
        self._connection = connection
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._connection.translated():
            async for chunk in self._response.content.iter_any():
                yield chunk


@asynccontextmanager
async def open_archive(
    connection: Connection, bucket: str, prefix: str, format: str
) -> AsyncIterator[Archive]:
    """Asked for again while the service is out of reach, until the first byte."""
    patience = connection.patience()
    async with AsyncExitStack() as stack:
        while True:
            request = connection.request(
                "GET",
                f"{bucket_path(bucket)}/archive",
                query={"prefix": prefix, "format": format},
                timeout=connection.transfer_timeout,
            )
            try:
                response = await stack.enter_async_context(request)
                break
            except patience.errors as error:
                await patience.wait(error)
        yield Archive(connection, response)


async def archive_to_file(
    connection: Connection,
    bucket: str,
    prefix: str,
    format: str,
    path: Path,
    progress: Progress,
) -> int:
    """Written beside its place and renamed at the end. Raises what the stream raises."""
    part = path.with_name(f"{path.name}.part")
    done_bytes = 0
    async with (
        open_archive(connection, bucket, prefix, format) as archive,
        BlockingThread() as thread,
    ):
        file: BinaryIO = await thread.run(open, part, "wb")
        try:
            async for chunk in archive:
                await thread.run(file.write, chunk)
                done_bytes += len(chunk)
                progress(done_bytes, None)
            await thread.run(_finish, file, part, path)
        except BaseException as error:
            thread.post(file.close)
            if isinstance(error, Exception):
                await thread.run(part.unlink)  # gone before anybody is told
            else:
                thread.post(part.unlink)
            raise
    return done_bytes


def _finish(file: BinaryIO, part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.replace(path)
    sync_folder(path.parent)


async def expand(
    connection: Connection,
    bucket: str,
    source: Source,
    query: Mapping[str, str],
    progress: Progress,
) -> Expansion:
    """Send an archive once; nothing of it is read before the service wants it."""
    replayable = as_source(source)
    headers = {"Content-Type": "application/octet-stream"}
    async with BlockingThread() as thread:
        size_bytes = None
        if isinstance(replayable, AsyncIterator):
            chunks = replayable
        else:
            size_bytes = (await thread.run(replayable.state)).size_bytes
            chunks = replayable.chunks(thread, size_bytes)
            headers["Content-Length"] = str(size_bytes)
        body = UploadBody(chunks, size_bytes, progress)
        answer = await guarded(
            connection,
            body,
            "POST",
            f"{bucket_path(bucket)}/objects",
            query=query,
            headers=headers,
            expect100=size_bytes is None or size_bytes > CHUNK_BYTES,
        )
    return parse(answer, Expansion)
