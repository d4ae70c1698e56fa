"""`open`: which file object stands for which mode."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from typing import Any

from fsspec.asyn import sync
from fsspec.implementations.cached import LocalTempFile

from service.client.answers import ObjectInfo
from service.client.filesystem.failures import as_os_errors, exists_already
from service.client.filesystem.files import AsyncMediagateFile, MediagateFile, Plan
from service.client.filesystem.layers import writer_layers
from service.client.filesystem.names import Info, Name
from service.client.filesystem.streamed_upload import StreamedUpload
from service.client.filesystem.transfers import TransferFileSystem, object_name, put_options

WRITING = ("wb", "xb", "ab")


class OpeningFileSystem(TransferFileSystem):
    default_block_size: int | None
    default_cache_type: str

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Modes r, w, x and a, binary or text; compression as of fsspec.

        Writers take the facts of the object too: content_type, user_metadata, tags and so on.
        a: the object is written anew, what it was and what is added. x: FileExistsError now, or at
        the close, where somebody else was faster.
        """
        options: dict[str, Any] = {"block_size": block_size, "cache_options": cache_options}
        if "r" in mode:
            return super().open(path, mode, compression=compression, **options, **kwargs)
        text = None
        if "b" not in mode:
            mode = mode.replace("t", "") + "b"
            names = ("encoding", "errors", "newline")
            text = {name: kwargs.pop(name) for name in names if name in kwargs}
        writer = super().open(path, mode, **options, **kwargs)
        return writer_layers(writer, path, compression, text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = None,
        version: str | None = None,
        size: int | None = None,
        **facts: Any,
    ) -> Any:
        block_size = block_size or self.default_block_size
        if mode == "rb":
            return MediagateFile(
                self,
                path,
                mode,
                None,
                details=sync(self.loop, self._object, path, version),
                block_size=block_size,
                cache_type=cache_type or self.default_cache_type,
                cache_options=cache_options,
            )
        before: Info | None = sync(self.loop, self._before, path, mode)
        if not autocommit:
            return _for_transaction(self, path, mode, before, facts)
        plan = _plan(self, path, mode, before, facts)
        start = before["size"] if before else 0
        return MediagateFile(self, path, "wb", plan, block_size=block_size, start=start)

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> AsyncMediagateFile:
        """Binary modes, without caches: a read is a range. Other arguments are those of `open`."""
        if "b" not in mode or kwargs.get("compression"):
            raise ValueError("an asynchronous file is binary, and not compressed")
        path = self._strip_protocol(path)
        block_size = kwargs.pop("block_size", None) or self.default_block_size
        if mode == "rb":
            details = await self._object(path, kwargs.get("version"))
            return AsyncMediagateFile(self, path, mode, None, details=details)
        before = await self._before(path, mode)
        plan = _plan(self, path, mode, before, kwargs)
        start = before["size"] if before else 0
        return AsyncMediagateFile(self, path, "wb", plan, block_size=block_size, start=start)

    async def _before(self, path: str, mode: str) -> Info | None:
        """What is appended to. Raises FileExistsError for `x`, ValueError for an unknown mode."""
        if mode not in WRITING:
            raise ValueError(f"there is no mode {mode!r}: rb, wb, xb and ab")
        object_name(path)
        if mode == "wb":
            return None
        try:
            found = await self._object(path)
        except (FileNotFoundError, IsADirectoryError):
            return None
        if mode == "xb":
            raise exists_already(path)
        return found

    async def _store_bytes(self, path: str, data: bytes, options: dict[str, Any]) -> None:
        await self._store(path, data, await put_options(path, **options))

    async def _start_upload(
        self, path: str, appends: str | None, facts: dict[str, Any]
    ) -> StreamedUpload:
        """appends: the version whose bytes come first."""
        options = await put_options(path, **facts)
        name = Name.of(path)
        client = await self._session.client()

        async def put(chunks: AsyncIterator[bytes]) -> ObjectInfo:
            with as_os_errors(path, creates=options.create_only):
                return await client.put(*name, chunks, options)

        async def before() -> AsyncIterator[bytes]:
            async with client.get(*name, version=appends) as download:
                async for chunk in download:
                    yield chunk

        return StreamedUpload(put, before() if appends else None)


def _plan(
    fs: OpeningFileSystem, path: str, mode: str, before: Info | None, facts: dict[str, Any]
) -> Plan:
    conditions = {"create_only": mode == "xb", "if_match": before["etag"] if before else None}
    appends = before["version"] if before else None
    return Plan(fs, path, appends, {**facts, **conditions})


class _TransactionFile(LocalTempFile):
    """A local file until its transaction ends."""

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            os.remove(self.fn)


def _for_transaction(
    fs: OpeningFileSystem, path: str, mode: str, before: Info | None, facts: dict[str, Any]
) -> _TransactionFile:
    handle, name = tempfile.mkstemp(prefix="mediagate-")
    os.close(handle)
    if before:
        fs.get_file(path, name, version=before["version"])
        facts = {**facts, "if_match": before["etag"]}
    file = _TransactionFile(fs, path, name, mode.replace("x", "w"), autocommit=False)
    file.kwargs = {**facts, "mode": "create" if mode == "xb" else "overwrite"}
    return file
