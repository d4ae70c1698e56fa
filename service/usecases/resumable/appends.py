"""Which uploads this process is appending to, so that a newer request can ask for an orderly end.

Safety does not hang on it: a claim fences whoever holds the upload. What was received and is not in
the store yet would be sent again then, though; asked first, the older request notes it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from service.model.ids import UploadId

PATIENCE_S = 1.5
"""How long an orderly end is waited for; the newer request goes on after that in any case."""


class Append(Protocol):
    def stop(self) -> None:
        """End as if the client had gone away."""

    async def ended(self) -> None: ...


class Appends:
    def __init__(self) -> None:
        self._running: dict[UploadId, Append] = {}

    def begin(self, upload: UploadId, append: Append) -> None:
        self._running[upload] = append

    def end(self, upload: UploadId, append: Append) -> None:
        if self._running.get(upload) is append:
            del self._running[upload]

    def overtake(self, upload: UploadId) -> None:
        """End what has been claimed from it already."""
        append = self._running.pop(upload, None)
        if append is not None:
            append.stop()

    async def stop(self, upload: UploadId) -> bool:
        """Ask for an orderly end and wait for it; False where there is no such append."""
        append = self._running.get(upload)
        if append is None:
            return False
        append.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await append.ended()
        return True
