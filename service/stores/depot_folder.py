"""A folder as a depot: an item is a file."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from service.client.checksum import crc_of_file
from service.client.file_download import sync_folder
from service.client.io_thread import CHUNK_BYTES, BlockingThread
from service.client.sources import FileSource, State
from service.client.sync.local_tree import LocalFile, Problem, local_files
from service.errors import Conflict, Invalid, NotFound
from service.model.depot import MANIFEST, DepotContent, DepotItem, Exported
from service.model.ids import new_id
from service.model.version import ObjectFacts


class FolderDepot:
    """problem: told of what has no name that an object could have."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._folder = folder
        self._problem = problem

    async def items(self) -> AsyncIterator[DepotItem]:
        async for file in local_files(self._folder, self._problem):
            if file.name != MANIFEST:
                yield _item(file)

    @asynccontextmanager
    async def open(self, item: DepotItem) -> AsyncIterator[DepotContent]:
        path = self._path(item.name)
        source = FileSource(path)
        async with BlockingThread() as thread:
            state = await thread.run(_state, path)
            if _mark(state) != item.mark:
                raise Conflict(f"{path} was changed")
            kind, encoding = await thread.run(mimetypes.guess_type, path.name)
            facts = ObjectFacts(
                content_type="application/octet-stream" if encoding or not kind else kind,
                filename=path.name,
            )
            yield DepotContent(facts, source.chunks(thread, state.size_bytes))
            if await thread.run(_state, path) != state:
                raise Conflict(f"{path} was changed while it was read")

    async def remove(self, item: DepotItem) -> None:
        path = self._path(item.name)

        def remove() -> None:
            if _mark(_state(path)) != item.mark:
                raise Conflict(f"{path} was changed")
            path.unlink()

        await asyncio.to_thread(remove)

    async def digest(self, name: str, size_bytes: int) -> bytes | None:
        path = self._path(name)

        def digest() -> bytes | None:
            if not path.is_file() or path.stat().st_size != size_bytes:
                return None
            return crc_of_file(path)

        return await asyncio.to_thread(digest)

    async def write(self, exported: Exported, chunks: AsyncIterator[bytes]) -> None:
        if exported.name == MANIFEST:
            raise Invalid(f"{MANIFEST} is the name of the manifest")
        await _write(self._path(exported.name), chunks)

    async def manifest(self) -> AsyncIterator[bytes]:
        path = self._folder / MANIFEST
        async with BlockingThread() as thread:
            try:
                file: BinaryIO = await thread.run(path.open, "rb")
            except FileNotFoundError:
                return
            try:
                while lines := await thread.run(file.readlines, CHUNK_BYTES):
                    for line in lines:
                        yield line
            finally:
                thread.post(file.close)

    async def write_manifest(self, lines: AsyncIterator[bytes]) -> None:
        await _write(self._folder / MANIFEST, lines)

    async def close(self) -> None:
        """Nothing is open between the calls."""

    def _path(self, name: str) -> Path:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise Invalid(f"{name!r} is no name of a file")
        return self._folder / name


async def _write(path: Path, chunks: AsyncIterator[bytes]) -> None:
    """Beside its place, made durable, renamed; the walk takes `.part` files for no content."""
    part = path.with_name(f"{path.name}.{new_id()}.part")
    async with BlockingThread() as thread:
        await thread.run(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        file: BinaryIO = await thread.run(part.open, "wb")
        try:
            async for batch in _batches(chunks):
                await thread.run(file.writelines, batch)
            await thread.run(_finish, file, part, path)
        except BaseException:
            thread.post(file.close)
            thread.post(part.unlink)
            raise


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Since each trip to the thread costs, and lines are short."""
    batch: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        batch.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= CHUNK_BYTES:
            yield batch
            batch, size_bytes = [], 0
    yield batch


def _finish(file: BinaryIO, part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.replace(path)
    sync_folder(path.parent)


def _item(file: LocalFile) -> DepotItem:
    modified = datetime.fromtimestamp(file.state.modified_ns / 1e9, UTC)
    return DepotItem(file.name, file.state.size_bytes, _mark(file.state), modified)


def _state(path: Path) -> State:
    try:
        return State.of(path.stat())
    except FileNotFoundError as error:
        raise NotFound(f"{path} is gone") from error


def _mark(state: State) -> str:
    return "-".join(map(str, state))
