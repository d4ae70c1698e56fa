"""The port of a depot (model/depot.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from service.model.depot import DepotContent, DepotItem, Exported


class Depot(Protocol):
    """Items by name, and one manifest beside them that is replaced as a whole."""

    def items(self) -> AsyncIterator[DepotItem]:
        """All of them in any order, the manifest left out."""

    def open(self, item: DepotItem) -> AbstractAsyncContextManager[DepotContent]:
        """The bytes of exactly this item. Raises Conflict where it was changed since, NotFound."""

    async def remove(self, item: DepotItem) -> None:
        """Unless it was changed since: Conflict."""

    async def digest(self, name: str, size_bytes: int) -> bytes | None:
        """CRC64NVME of what lies under a name; None where there is nothing of this size, or where
        nobody can tell."""

    async def write(self, exported: Exported, chunks: AsyncIterator[bytes]) -> None:
        """Store an item, which appears whole or not at all. Errors of the chunks are raised."""

    def manifest(self) -> AsyncIterator[bytes]:
        """Its lines, in the order in which they were written; none where there is no manifest."""

    async def write_manifest(self, lines: AsyncIterator[bytes]) -> None:
        """Each with its line end; appears whole or not at all."""

    async def close(self) -> None: ...
