"""What fsspec makes of `mg://`: configuration, buckets, copies, deletions, files."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from fsspec.asyn import _run_coros_in_chunks, sync_wrapper

from service.client.filesystem.failures import (
    as_os_errors,
    exists_already,
    not_found,
    not_removed,
)
from service.client.filesystem.names import Name
from service.client.filesystem.opening import OpeningFileSystem
from service.client.filesystem.read_ahead import GrowingReadAhead
from service.client.filesystem.session import Session
from service.client.filesystem.transfers import object_name

DEFAULT_PATIENCE_S = 120.0
LISTINGS_EXPIRY_S = 10.0


class MediagateFileSystem(OpeningFileSystem):
    """`fsspec.filesystem("mg")`, or any path `mg://bucket/key`.

    endpoint_url, key: of the service; MEDIAGATE_URL and MEDIAGATE_KEY of the environment unless
    given. (`url` is an argument of fsspec's own that would get into the way.)
    patience_s: how long a call goes on without progress while the service is out of reach.
    listings_expiry_time: seconds for which a listing may be used again. Others as in fsspec.
    """

    protocol = "mg"

    def __init__(
        self,
        endpoint_url: str | None = None,
        key: str | None = None,
        *,
        patience_s: float = DEFAULT_PATIENCE_S,
        default_block_size: int | None = None,
        default_cache_type: str = GrowingReadAhead.name,
        listings_expiry_time: float | None = LISTINGS_EXPIRY_S,
        **options: Any,
    ) -> None:
        super().__init__(listings_expiry_time=listings_expiry_time, **options)
        self.default_block_size = default_block_size
        self.default_cache_type = default_cache_type
        self._session = Session(endpoint_url, key, patience_s)
        self._session.close_with(self)

    @property
    def fsid(self) -> str:
        return f"mg+{self._session.url}"

    async def set_session(self) -> Session:
        """For `asynchronous=True`: what to `await …close()` at the end."""
        await self._session.client()
        return self._session

    async def _mkdir(
        self,
        path: str,
        create_parents: bool = True,
        versioning: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a bucket. Folders are there as soon as something is in them."""
        path = self._strip_protocol(path)
        name = Name.of(path)
        exists = await self._bucket_exists(name.bucket)
        if exists and not name.key:
            raise exists_already(path)
        if exists:
            return
        if name.key and not create_parents:
            raise not_found(name.bucket)
        await self._make_bucket(name.bucket, versioning)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        name = Name.of(path)
        if not exist_ok and await self._exists(path):
            raise exists_already(path)
        if not await self._bucket_exists(name.bucket):
            await self._make_bucket(name.bucket)

    async def _make_bucket(self, bucket: str, versioning: bool | None = None) -> None:
        client = await self._session.client()
        with as_os_errors(bucket):
            await client.make_bucket(bucket, versioning=versioning)
        self.invalidate_cache(bucket)

    async def _bucket_exists(self, bucket: str) -> bool:
        """True where the key may not know: what is done next will tell."""
        try:
            return bool(await self._exists(bucket, refresh=True))
        except PermissionError:
            return True

    async def _rmdir(self, path: str) -> None:
        """Delete an empty bucket; a folder goes with what is in it."""
        path = self._strip_protocol(path)
        name = Name.of(path)
        if name.key:
            if await self._exists(path, refresh=True):
                raise OSError(errno.ENOTEMPTY, "the folder is not empty", f"mg://{path}")
            raise not_found(path)
        with as_os_errors(path):
            await (await self._session.client()).delete_bucket(name.bucket)
        self.invalidate_cache(path)

    rmdir = sync_wrapper(_rmdir)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        """Delete an object; one that is not there is no error."""
        path = self._strip_protocol(path)
        name = object_name(path)
        with as_os_errors(path):
            await (await self._session.client()).delete(*name, **kwargs)
        self.invalidate_cache(path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Objects; with `recursive` what is in folders, and buckets with what is in them."""
        paths = await self._expand_path(path, recursive=recursive, maxdepth=maxdepth)
        if not recursive:
            await self._in_chunks(map(self._object, paths), batch_size)
        objects = [one for one in paths if Name.of(one).key]
        for bucket, names in groupby(sorted(map(Name.of, objects)), lambda name: name.bucket):
            await self._delete(bucket, [name.key for name in names])
        if maxdepth is None:
            for bucket in set(paths) - set(objects) - {""}:
                await self._rmdir(bucket)

    async def _delete(self, bucket: str, keys: list[str]) -> None:
        client = await self._session.client()
        failed = None
        with as_os_errors(bucket):
            async for removal in client.delete_many(bucket, keys):
                failed = failed or (removal if removal.status == "failed" else None)
                self.invalidate_cache(f"{bucket}/{removal.key}")
        if failed:
            raise not_removed(f"{bucket}/{failed.key}", failed.problem or {})

    async def _in_chunks(self, calls: Iterable[Any], batch_size: int | None) -> None:
        size = batch_size or self.batch_size
        await _run_coros_in_chunks(list(calls), batch_size=size, nofiles=True)

    async def _cp_file(self, path1: str, path2: str, moves: bool = False, **kwargs: Any) -> None:
        """A copy inside the store, with its metadata. moves: the source is gone afterwards."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        try:
            await self._copied(object_name(path1), object_name(path2), moves=moves)
        except (FileNotFoundError, IsADirectoryError):
            if not await self._isdir(path1):
                raise
            return
        self.invalidate_cache(path2)
        if moves:
            self.invalidate_cache(path1)

    async def _copied(self, source: Name, target: Name, *, moves: bool) -> None:
        client = await self._session.client()
        call = client.move if moves else client.copy
        with as_os_errors("/".join(source)):
            await call(*source, target.key, to_bucket=target.bucket)

    async def _mv_file(self, path1: str, path2: str) -> None:
        await self._cp_file(path1, path2, moves=True)

    mv_file = sync_wrapper(_mv_file)

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Object by object, so that nothing goes that was not moved.

        A folder is named too, and may be gone by its turn, with the last object that was in it.
        """
        if path1 != path2:
            on_error = "ignore" if recursive else "raise"
            how = {"recursive": recursive, "maxdepth": maxdepth, "on_error": on_error}
            await self._copy(path1, path2, moves=True, **how)

    mv = sync_wrapper(_mv)
