"""Calls that take objects away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice

from service.client.answers import DeletionJob, Removal, Removals
from service.client.base import Base
from service.client.connection import bucket_path, object_path, parse
from service.client.problems import UnexpectedAnswer
from service.client.upload import conditions

_KEYS_OF_A_REQUEST = 1000
_FIRST_LOOK_S, _LONGEST_PAUSE_S = 0.1, 2.0


class Removing(Base):
    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_match: str | None = None,
    ) -> str | None:
        """Delete an object; one that is not there is no error.

        In a bucket with versions this adds a delete marker, whose id is returned, and `version`
        removes one version, or one marker, for good. Sent once: a second attempt might meet an
        object that somebody stored in between.
        """
        reply = await self._connection.send(
            "DELETE",
            object_path(bucket, key),
            query={"version": version} if version else None,
            headers=conditions(if_match=if_match),
        )
        marker = reply.headers.get("X-Delete-Marker") == "true" and version is None
        return reply.headers.get("X-Version-Id") if marker else None

    async def delete_many(self, bucket: str, keys: Iterable[str]) -> AsyncIterator[Removal]:
        """Delete objects, a thousand a request, each request once; what became of each key.

        async for removal in mediagate.delete_many("films", ["one.mp4", "two.mp4"]):
            print(removal.key, removal.status)
        """
        left = iter(keys)
        while some := [*islice(left, _KEYS_OF_A_REQUEST)]:
            reply = await self._connection.send(
                "POST", _deletions(bucket), json={"keys": some}, long=True
            )
            for removal in parse(reply.body, Removals).results:
                yield removal

    async def delete_prefix(
        self,
        bucket: str,
        prefix: str,
        *,
        wait: bool = True,
        progress: Callable[[DeletionJob], None] | None = None,
    ) -> DeletionJob:
        """Delete all objects whose keys start with the prefix, as a job of the service.

        wait: until the job is over; else it has just begun, and `deletion` tells how far it is.
        progress: told the job at every look.
        """
        reply = await self._connection.send("POST", _deletions(bucket), json={"prefix": prefix})
        job = parse(reply.body, DeletionJob)
        pause_s = _FIRST_LOOK_S
        while wait and job.running:
            if progress:
                progress(job)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            job = await self.deletion(bucket, job.id)
        if progress:
            progress(job)
        return job

    async def deletion(self, bucket: str, job: str) -> DeletionJob:
        """How far the deletion of a prefix is. job: its id."""
        if not job.isalnum():
            raise UnexpectedAnswer(f"{job!r} is no id of a job")
        return await self._connection.read(f"{_deletions(bucket)}/{job}", DeletionJob)


def _deletions(bucket: str) -> str:
    return f"{bucket_path(bucket)}/deletions"
