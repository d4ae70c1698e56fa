"""The port of whole engines: all that one keeps, page by page, for a move to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.model.records import Record, RecordKind


class RecordStore(Protocol):
    """One engine as records. No service may run on either of two while they are copied."""

    async def open(self) -> None:
        """Check and prepare the engine. Raises SchemaMismatch, StoreRefused."""

    async def begin_filling(self) -> None:
        """Mark the engine as not whole, so that no service starts on it.

        Raises Conflict unless it is empty or marked so already.
        """

    async def read(self, kind: RecordKind, *, after: str, limit: int) -> list[Record]:
        """By id (bytes of UTF-8), ids > after."""

    async def last(self, kind: RecordKind) -> str:
        """The greatest id, "" where there is none."""

    async def write(self, kind: RecordKind, records: Sequence[Record]) -> None:
        """All or none of them; one whose id is there already takes its place."""

    async def finish_filling(self) -> None:
        """Take the mark away."""

    async def close(self) -> None: ...
