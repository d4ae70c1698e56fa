"""What the attempts at one upload share: what is sent, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.client.connection import Connection
from service.client.io_thread import BlockingThread
from service.client.patience import Progress
from service.client.sources import Replayable, State
from service.errors import Conflict, MediagateError


@dataclass(frozen=True, slots=True)
class UploadJob:
    """state: of the source, before anything was sent. headers: what they say of the object."""

    connection: Connection
    thread: BlockingThread
    source: Replayable
    state: State
    bucket: str
    key: str
    headers: Mapping[str, str]
    progress: Progress

    def __str__(self) -> str:
        return f"mg://{self.bucket}/{self.key}"

    async def check_unchanged(self, error: MediagateError) -> None:
        """After an attempt that broke off by `error`. Raises Conflict."""
        if await self.thread.run(self.source.state) != self.state:
            raise Conflict(f"{self.source} was changed while it was sent") from error

    async def check_stored(self) -> None:
        """At the end. Raises Conflict."""
        if await self.thread.run(self.source.state) != self.state:
            raise Conflict(
                f"{self.source} was changed while it was sent: what is stored may be mixed"
            )
