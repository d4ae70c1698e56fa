"""Whole objects and ranges of them, in and out, without a file object."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike, merge_offset_ranges

from service.client.download import Download
from service.client.filesystem.failures import as_os_errors, is_a_folder
from service.client.filesystem.listing import ListingFileSystem
from service.client.filesystem.names import Name
from service.client.upload import PutOptions
from service.errors import RangeNotSatisfiable

MODES = {"overwrite": False, "create": True}
"""Whether an object that is there already stays."""


class TransferFileSystem(ListingFileSystem):
    """Facts of what is stored are keywords: content_type, cache_control, filename, user_metadata,
    tags."""

    async def _cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        version: str | None = None,
        **kwargs: Any,
    ) -> bytes:
        """Bytes [start, end), as a slice has them: from the end where negative, cut where outside.

        The whole is held against its digest. version: of that one only.
        """
        path = self._strip_protocol(path)
        if (start or 0) < 0 or (end is not None and end < 0):
            info = await self._info(path, refresh=True, version=version)
            start, end, _ = slice(start, end).indices(info["size"])
            version = info.get("version")
        start = start or 0
        if end is not None and end <= start:
            return b""
        name = object_name(path)
        client = await self._session.client()
        with as_os_errors(path):
            try:
                return await client.get_bytes(*name, start=start, end=end, version=version)
            except RangeNotSatisfiable:
                return b""

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """max_gap: ranges of an object that lie no further apart are fetched as one."""
        options = {"batch_size": batch_size, "on_error": on_error, **kwargs}
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if max_gap is None or any(_counts_from_the_end(place) for place in (*starts, *ends)):
            return list(await super()._cat_ranges(paths, starts, ends, **options))
        fetched = merge_offset_ranges(paths, starts, ends, max_gap=max_gap)
        blocks = await super()._cat_ranges(*fetched, **options)
        return [
            _cut(list(zip(*fetched, blocks, strict=True)), *wanted)
            for wanted in zip(paths, starts, ends, strict=True)
        ]

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **facts: Any
    ) -> None:
        """mode: create leaves an object that is there as it is, and raises FileExistsError."""
        path = self._strip_protocol(path)
        options = await put_options(path, create_only=MODES[mode], **facts)
        await self._store(path, bytes(value), options)

    async def _store(
        self, path: str, source: Path | bytes, options: PutOptions, **more: Any
    ) -> None:
        client = await self._session.client()
        with as_os_errors(path, creates=options.create_only):
            await client.put(*object_name(path), source, options, **more)
        self.invalidate_cache(path)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        mode: str = "overwrite",
        callback: Any = DEFAULT_CALLBACK,
        **facts: Any,
    ) -> None:
        """A local file; a local folder is nothing here."""
        if await asyncio.to_thread(os.path.isdir, lpath):
            return
        rpath = self._strip_protocol(rpath)
        options = await put_options(rpath, create_only=MODES[mode], **facts)
        await self._store(rpath, Path(lpath), options, progress=_progress(callback))

    async def _get_file(
        self,
        rpath: str,
        lpath: str | BinaryIO,
        callback: Any = DEFAULT_CALLBACK,
        version: str | None = None,
        **kwargs: Any,
    ) -> None:
        """To a local file, which appears whole or not at all; to a local folder for a folder.

        lpath: or a file object, which takes the bytes as they come.
        """
        rpath = self._strip_protocol(rpath)
        name = Name.of(rpath)
        outfile = kwargs.get("outfile") or (lpath if isfilelike(lpath) else None)
        client = await self._session.client()
        try:
            with as_os_errors(rpath):
                if outfile is not None:
                    async with client.get(*object_name(rpath), version=version) as download:
                        await _write_all(download, outfile, callback)
                    return
                progress = _progress(callback)
                await client.get_to_file(
                    *object_name(rpath), Path(str(lpath)), version=version, progress=progress
                )
        except (FileNotFoundError, IsADirectoryError):
            if outfile is not None or (name.key and not await self._isdir(rpath)):
                raise
            await asyncio.to_thread(os.makedirs, str(lpath), exist_ok=True)


def object_name(path: str) -> Name:
    name = Name.of(path)
    if not name.key:
        raise is_a_folder(path)
    return name


async def put_options(path: str, **facts: Any) -> PutOptions:
    """content_type: guessed from the key unless it is told."""
    if facts.get("content_type") is None:
        # The first guess reads the system's tables.
        facts["content_type"], _ = await asyncio.to_thread(mimetypes.guess_type, path)
    return PutOptions(**facts)


def _progress(callback: Any) -> Any:
    def noted(done_bytes: int, size_bytes: int | None) -> None:
        if size_bytes is not None:
            callback.set_size(size_bytes)
        callback.absolute_update(done_bytes)

    return noted


async def _write_all(download: Download, file: Any, callback: Any) -> None:
    callback.set_size(download.end)
    chunks: AsyncIterable[bytes] = download
    async for chunk in chunks:
        await asyncio.to_thread(file.write, chunk)
        callback.relative_update(len(chunk))


def _counts_from_the_end(place: int | None) -> bool:
    return place is not None and place < 0


def _cut(blocks: list[Any], path: str, start: int | None, end: int | None) -> Any:
    """Out of the (path, start, end, bytes) that covers it; an error stands for all in it."""
    for of, block_start, block_end, block in blocks:
        covers = block_end is None or (end is not None and end <= block_end)
        if of == path and block_start <= (start or 0) and covers:
            if isinstance(block, Exception):
                return block
            return block[(start or 0) - block_start : None if end is None else end - block_start]
    raise AssertionError("every range is covered")
