"""What there is: listings, facts, folders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fsspec.asyn import AsyncFileSystem, sync, sync_wrapper
from fsspec.utils import tokenize

from service.client.api import AsyncMediagate
from service.client.filesystem.failures import as_os_errors, is_a_folder, not_found
from service.client.filesystem.names import (
    Info,
    Name,
    folder_info,
    folders_between,
    object_info,
)
from service.client.filesystem.session import Session
from service.errors import InvalidBucketName, InvalidKey, ObjectNotFound


class ListingFileSystem(AsyncFileSystem):
    """Listings of folders are kept in `dircache` until they are old, or something below changes."""

    _session: Session

    async def _info(
        self, path: str, refresh: bool = False, version: str | None = None, **kwargs: Any
    ) -> Info:
        """An object before a folder of the same name. version: that one's, never out of a cache."""
        path = self._strip_protocol(path)
        name = Name.of(path)
        if not name.bucket:
            return folder_info("")
        cached = None if refresh or version else self._from_cache(path)
        if cached is not None:
            return cached
        try:
            with as_os_errors(path):
                return await self._found(name, version)
        except OSError as error:
            # No such name can be there.
            if isinstance(error.__cause__, InvalidKey | InvalidBucketName):
                raise not_found(path) from error
            raise

    async def _found(self, name: Name, version: str | None) -> Info:
        client = await self._session.client()
        path = f"{name.bucket}/{name.key}"
        if not name.key:
            await _is_empty(client, name)
            return folder_info(name.bucket)
        try:
            return object_info(await client.stat(name.bucket, name.key, version=version))
        except ObjectNotFound as error:
            if version is None and not await _is_empty(client, name):
                return folder_info(path)
            raise not_found(path) from error

    def _from_cache(self, path: str) -> Info | None:
        """None where the folder was not listed. Raises FileNotFoundError where it was, without
        this."""
        entries: list[Info] | None = self.dircache.get(self._parent(path))
        if entries is None:
            return None
        found = [entry for entry in entries if entry["name"] == path]
        if not found:
            raise not_found(path)
        return min(found, key=lambda entry: bool(entry["type"] == "directory"))

    async def _ls(
        self, path: str, detail: bool = True, refresh: bool = False, **kwargs: Any
    ) -> list[Any]:
        """Objects and folders in a folder, or the object itself."""
        path = self._strip_protocol(path)
        entries: list[Info] | None = None if refresh else self.dircache.get(path)
        if entries is None:
            name = Name.of(path)
            entries = await self._entries(name, "")
            if entries or not name.key:
                self.dircache[path] = entries
            else:
                entries = [await self._info(path, refresh=refresh)]
        return list(entries) if detail else sorted({entry["name"] for entry in entries})

    async def _entries(self, name: Name, start: str) -> list[Info]:
        """One level: what starts with `start` in a folder, or in the root."""
        path = "/".join(filter(None, name))
        with as_os_errors(path):
            client = await self._session.client()
            if not name.bucket:
                buckets = [bucket.name async for bucket in client.buckets()]
                return [folder_info(bucket) for bucket in buckets if bucket.startswith(start)]
            found: list[Info] = []
            prefix = name.prefix + start
            async for page in client.pages(name.bucket, prefix, delimiter="/"):
                found += map(object_info, page.items)
                found += [folder_info(f"{name.bucket}/{cut[:-1]}") for cut in page.prefixes]
            return found

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        """One listing for the whole tree. prefix: only what starts so in the folder itself."""
        path = self._strip_protocol(path)
        name = Name.of(path)
        if not name.bucket or (maxdepth or 1) > 1:
            return await super()._find(path, maxdepth, withdirs, detail=detail, **kwargs)
        entries = (
            await self._entries(name, prefix)
            if maxdepth
            else await self._tree(name, prefix, withdirs=withdirs)
        )
        found = {entry["name"]: entry for entry in _files_last(entries)}
        if not withdirs:
            found = {path: info for path, info in found.items() if info["type"] == "file"}
        if not entries:
            found = await self._itself(path, withdirs=withdirs)
        elif withdirs:
            found.setdefault(path, folder_info(path))
        names = sorted(found)
        return {one: found[one] for one in names} if detail else names

    async def _tree(self, name: Name, start: str, *, withdirs: bool) -> list[Info]:
        top = "/".join(filter(None, name))
        with as_os_errors(top):
            client = await self._session.client()
            found = [
                object_info(item) async for item in client.list(name.bucket, name.prefix + start)
            ]
        if withdirs:
            paths = [entry["name"] for entry in found]
            found += map(folder_info, folders_between(top, paths))
        return found

    async def _itself(self, path: str, *, withdirs: bool) -> dict[str, Info]:
        """What `find` gives where nothing lies below: the object, an empty bucket, or nothing."""
        try:
            info = await self._info(path)
        except FileNotFoundError:
            return {}
        return {path: info} if withdirs or info["type"] == "file" else {}

    async def _size(self, path: str) -> int:
        # Fresh: DuckDB asks for it after it opened the file.
        size: int = (await self._info(path, refresh=True))["size"]
        return size

    async def _du(
        self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any
    ) -> Any:
        found = await self._find(path, maxdepth=maxdepth, detail=True, **kwargs)
        sizes = {one: info["size"] for one, info in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _ukey(self, path: str) -> str:
        """The version: another content has another one."""
        version: str = (await self._object(path))["version"]
        return version

    ukey = sync_wrapper(_ukey)

    async def _checksum(self, path: str) -> int:
        """A number made of the version."""
        return int(tokenize(await self._ukey(path)), 16)

    checksum = sync_wrapper(_checksum)

    def created(self, path: str) -> Any:
        """When this version was stored."""
        return sync(self.loop, self._object, path)["created"]

    def modified(self, path: str) -> Any:
        """When the content or the metadata changed last."""
        # Fresh too: DuckDB keeps blocks of files as long as this is the same.
        return sync(self.loop, self._object, path)["modified"]

    async def _object(self, path: str, version: str | None = None) -> Info:
        """Fresh. Raises IsADirectoryError for a folder."""
        path = self._strip_protocol(path)
        info = await self._info(path, refresh=True, version=version)
        if info["type"] == "directory":
            raise is_a_folder(path)
        return info

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listings of the folders that the path lies in, and its own; None: all."""
        if path is None:
            self.dircache.clear()
        else:
            path = self._strip_protocol(path)
            while path:
                self.dircache.pop(path, None)
                path = self._parent(path)
            self.dircache.pop("", None)
        super().invalidate_cache(path)


def _files_last(entries: Iterable[Info]) -> list[Info]:
    """Of an object and a folder with one name, the object wins in a dict."""
    return sorted(entries, key=lambda entry: bool(entry["type"] == "file"))


async def _is_empty(client: AsyncMediagate, name: Name) -> bool:
    """Raises BucketNotFound."""
    async for page in client.pages(name.bucket, name.prefix, limit=1):
        if page.items:
            return False
    return True
