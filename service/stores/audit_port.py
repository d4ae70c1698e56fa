"""The port of the auditor and the scrubber; `stores/ports.py` says what holds for all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from service.model.audit import Claim, Progress, Stray
from service.model.ids import BlobKey, VersionId


class AuditStore(Protocol):
    """What the metadata say of blob keys, of all tenants, and what the auditor notes for itself."""

    async def claims(self, *, after: str, limit: int) -> list[Claim]:
        """Of all versions, the dead ones too, by blob key in UTF-8 order, keys > after."""

    async def claims_on(self, keys: Collection[BlobKey]) -> list[Claim]: ...

    async def owed(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        """Those that the write ledger still answers for.

        These are all keys of an unfinished upload and of a tombstone, and of a committed upload
        its leftovers. Whoever asks this first and `claims_on` after it misses no key: an upload
        that is committed in between has its version by then.
        """

    async def mark_damaged(self, version: VersionId, *, damaged: bool) -> bool:
        """Mark a version that counts, or take the mark away, in one transaction with the event.

        The event is `object.damaged` or `object.repaired`; `revision` goes up. False where the
        version does not count any more, or is marked so already.
        """

    async def quarantine(self, strays: Collection[Stray]) -> None:
        """Note that they were found just now; the first time found stays."""

    async def quarantined(self, *, found_before_s: float, limit: int) -> list[Stray]:
        """Those first found that long ago, oldest first."""

    async def release(self, strays: Collection[Stray]) -> None:
        """Drop their notes."""

    async def release_unseen(self, since: datetime) -> int:
        """Drop the notes of what was last found before `since`; returns how many."""

    async def progress(self, worker: str) -> Progress:
        """The default where the worker never said."""

    async def save_progress(self, worker: str, progress: Progress) -> None: ...
