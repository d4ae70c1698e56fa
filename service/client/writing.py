"""Calls that make objects, change their metadata and give them other names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from service.client.answers import Expansion, ObjectInfo
from service.client.archive import expand
from service.client.base import Base, ignore
from service.client.connection import bucket_path, object_path, parse
from service.client.patience import AGAIN, Progress
from service.client.sources import Source, as_source
from service.client.upload import PutOptions, conditions, put_source, put_stream
from service.client.upload_journal import UploadJournal
from service.errors import Invalid
from service.model.ids import new_id

NO_OPTIONS = PutOptions()


class Writing(Base):
    async def put(
        self,
        bucket: str,
        key: str,
        source: Source,
        options: PutOptions = NO_OPTIONS,
        *,
        resumable: bool | None = None,
        journal: UploadJournal | None = None,
        progress: Progress = ignore,
    ) -> ObjectInfo:
        """Store a file, bytes, a file object or chunks as the latest version of the key.

        source: a `str` is a path. What can be read again (a path, bytes, a file object that seeks)
        goes on where it was when the connection breaks, or is sent again where it is small; chunks
        are sent once. DigestMismatch says that the service stored other bytes than were read here.

        resumable: None for what has 64 MiB or more. journal: remembers unfinished uploads of paths,
        so that the same call after a crash goes on; without one, an upload that fails is ended.

            info = await mediagate.put("films", "one.mp4", Path("one.mp4"))
            await mediagate.put("films", "note", b"hi", PutOptions(content_type="text/plain"))
        """
        taken = as_source(source)
        if isinstance(taken, AsyncIterator):
            if resumable:
                raise Invalid("chunks are sent once: nothing of them can be sent again")
            return await put_stream(self._connection, bucket, key, taken, options, progress)
        return await put_source(
            self._connection,
            bucket,
            key,
            taken,
            options,
            progress,
            resumable=resumable,
            journal=journal,
        )

    async def patch(
        self,
        bucket: str,
        key: str,
        changes: Mapping[str, Any],
        *,
        if_match: str | None = None,
    ) -> ObjectInfo:
        """Change metadata: a JSON merge patch over content_type, cache_control, content_encoding,
        content_language, filename, user_metadata and tags; None takes away. Sent once.

        if_match: `metadata_etag` of what was read, else PreconditionFailed.

            await mediagate.patch("films", "one.mp4", {"tags": {"seen": "yes", "new": None}})
        """
        reply = await self._connection.send(
            "PATCH",
            object_path(bucket, key, "metadata"),
            json=changes,
            headers=conditions(if_match=if_match),
        )
        return parse(reply.body, ObjectInfo)

    async def restore(self, bucket: str, key: str, version: str) -> ObjectInfo:
        """Make an old version the latest one again, as a new version. Sent once."""
        reply = await self._connection.send(
            "POST", object_path(bucket, key, "versions"), json={"restore": version}, long=True
        )
        return parse(reply.body, ObjectInfo)

    async def copy(
        self,
        bucket: str,
        key: str,
        to_key: str,
        *,
        to_bucket: str | None = None,
        version: str | None = None,
        create_only: bool = False,
    ) -> ObjectInfo:
        """Copy an object inside the store; the copy's facts. to_bucket: None for the same.

        Sent again under one Idempotency-Key when the connection breaks.

            await mediagate.copy("films", "one.mp4", "archive/one.mp4", to_bucket="old")
        """
        headers = {"Idempotency-Key": new_id(), **conditions(create_only=create_only)}
        wanted = _naming(key, to_key, to_bucket, version, None)
        path = f"{bucket_path(bucket)}/copies"
        patience = self._connection.patience()
        while True:
            try:
                reply = await self._connection.send(
                    "POST", path, json=wanted, headers=headers, long=True
                )
            except AGAIN as error:
                await patience.wait(error)
            else:
                return parse(reply.body, ObjectInfo)

    async def move(
        self,
        bucket: str,
        key: str,
        to_key: str,
        *,
        to_bucket: str | None = None,
        if_match: str | None = None,
        create_only: bool = False,
    ) -> ObjectInfo:
        """Give an object another name, at once and whole; its facts there. Sent once.

        if_match: quoted entity tag that the source must have, else PreconditionFailed.
        """
        reply = await self._connection.send(
            "POST",
            f"{bucket_path(bucket)}/moves",
            json=_naming(key, to_key, to_bucket, None, if_match),
            headers=conditions(create_only=create_only),
            long=True,
        )
        return parse(reply.body, ObjectInfo)

    async def expand(
        self,
        bucket: str,
        source: Source,
        *,
        format: str = "zip",
        prefix: str = "",
        atomic: bool = True,
        progress: Progress = ignore,
    ) -> Expansion:
        """Unpack an archive (zip, tar, tar.gz) on its way in: one object for each entry. Sent once.

        atomic: all entries or none; else each for itself, and the answer tells which failed.
        """
        query = {"expand": format, "prefix": prefix, "atomic": "true" if atomic else "false"}
        return await expand(self._connection, bucket, source, query, progress)


def _naming(
    key: str, to_key: str, to_bucket: str | None, version: str | None, if_match: str | None
) -> dict[str, dict[str, str]]:
    source = {"key": key, "version": version, "if_match": if_match}
    destination = {"bucket": to_bucket, "key": to_key}
    return {
        "source": {name: value for name, value in source.items() if value is not None},
        "destination": {name: value for name, value in destination.items() if value is not None},
    }
