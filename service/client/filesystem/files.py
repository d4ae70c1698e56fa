"""Open files. A reader is pinned to the version that was there when it was opened: it never mixes
two, and says so when that one is gone. A writer streams into one PUT: all or nothing at its close.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fsspec.asyn import AbstractAsyncStreamedFile, sync
from fsspec.spec import AbstractBufferedFile

from service.client.filesystem.failures import replaced

if TYPE_CHECKING:
    from service.client.filesystem.opening import OpeningFileSystem
    from service.client.filesystem.streamed_upload import StreamedUpload


class Plan:
    """How the chunks of a writer become an object: at once where they are few, else as a stream.

    appends: the version that comes before them. options: of the PUT. Any failure ends it, and
    nothing is stored.
    """

    def __init__(
        self,
        fs: OpeningFileSystem,
        path: str,
        appends: str | None,
        options: dict[str, Any],
    ) -> None:
        self._fs = fs
        self._path = path
        self._appends = appends
        self._options = options
        self._upload: StreamedUpload | None = None

    async def take(self, chunk: bytes, *, final: bool) -> None:
        try:
            if final and self._upload is None and self._appends is None:
                await self._fs._store_bytes(self._path, chunk, self._options)
            else:
                await self._stream(chunk, final=final)
        except BaseException:
            await self.abort()
            raise

    async def _stream(self, chunk: bytes, *, final: bool) -> None:
        if self._upload is None:
            self._upload = await self._fs._start_upload(self._path, self._appends, self._options)
        if chunk:
            await self._upload.write(chunk)
        if final:
            await self._upload.finish()
            self._fs.invalidate_cache(self._path)

    async def abort(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.abort()

    def abort_soon(self) -> None:
        if self._upload is not None:
            self._upload.abort_soon()


class MediagateFile(AbstractBufferedFile):
    """What `open` gives in binary modes.

    A `with` block that is left by an error stores nothing, nor does a writer that is forgotten.
    """

    def __init__(
        self, fs: OpeningFileSystem, path: str, mode: str, plan: Plan | None, **more: Any
    ) -> None:
        """more: `details` of the object for a reader, `start` for one who appends."""
        self._plan = plan
        self._version: str | None = None
        details = more.pop("details", None)
        start = more.pop("start", 0)
        if details is not None:
            self._details = details
            self._version = details["version"]
            more["size"] = details["size"]
        super().__init__(fs, path, mode, **more)
        self.loc = start

    def _fetch_range(self, start: int, end: int) -> bytes:
        try:
            fetched: bytes = self.fs.cat_file(self.path, start, end, version=self._version)
        except FileNotFoundError as error:
            raise replaced(self.path) from error
        return fetched

    def _upload_chunk(self, final: bool = False) -> None:
        try:
            self._run(self._writing.take(self.buffer.getvalue(), final=final))
        except BaseException:
            self.closed = True
            # A Ctrl-C ends only the waiting, not what runs in the loop.
            self._writing.abort_soon()
            raise

    def discard(self) -> None:
        """End a writer; nothing is stored."""
        if not self.closed and self._plan is not None:
            self.closed = True
            self._run(self._plan.abort())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        sync(self.fs.loop, lambda: coroutine)

    @property
    def _writing(self) -> Plan:
        assert self._plan is not None
        return self._plan

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if not self.closed and self._plan is not None:
            self.closed = True
            self._plan.abort_soon()
            warnings.warn(
                f"{self} was never closed: nothing is stored", ResourceWarning, stacklevel=2
            )

    def __reduce__(self) -> Any:
        """A reader that is unpickled goes on with the same version."""
        opened, arguments = super().__reduce__()
        return opened, (*arguments[:-1], {**arguments[-1], "version": self._version})


class AsyncMediagateFile(AbstractAsyncStreamedFile):
    """What `open_async` gives: `async with await fs.open_async(…) as file`."""

    def __init__(
        self, fs: OpeningFileSystem, path: str, mode: str, plan: Plan | None, **more: Any
    ) -> None:
        self._plan = plan
        details = more.pop("details", None)
        start = more.pop("start", 0)
        if details is not None:
            self._details = details
            self._version = details["version"]
            more["size"] = details["size"]
        super().__init__(fs, path, mode, cache_type="none", **more)
        self.loc = start

    async def _fetch_range(self, start: int, end: int) -> bytes:
        try:
            fetched: bytes = await self.fs._cat_file(self.path, start, end, version=self._version)
        except FileNotFoundError as error:
            raise replaced(self.path) from error
        return fetched

    async def _upload_chunk(self, final: bool = False) -> None:
        assert self._plan is not None
        try:
            await self._plan.take(self.buffer.getvalue(), final=final)
        except BaseException:
            self.closed = True
            raise

    async def discard(self) -> None:
        """End a writer; nothing is stored."""
        if not self.closed and self._plan is not None:
            self.closed = True
            await self._plan.abort()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            await self.discard()
        await self.close()

    def __del__(self) -> None:
        if not self.closed and self._plan is not None:
            self.closed = True
            self._plan.abort_soon()
