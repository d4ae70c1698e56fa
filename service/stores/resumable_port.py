"""The port of resumable uploads in the ledger; `stores/ports.py` says what holds for all.

They are entries of the ledger like any other (`UploadLedger` admits, commits and undoes them), and
their progress is changed here. While one is idle its lease stands for its expiry.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from service.model.ids import BlobKey, TenantId, UploadId
from service.model.resumable import Progress
from service.model.upload import Part, Upload, UploadRef, UploadState


class ResumableLedger(Protocol):
    """A step whose ref or state does not hold raises Fenced, changing nothing."""

    async def claim(
        self, upload: UploadId, owner: str, offset: int, *, lease_s: float | None = None
    ) -> Upload | None:
        """Own a resumable upload whatever its owner does: epoch + 1, `working`.

        Only while it is `open` or `sealing`, not closed, at exactly this offset, and its lease
        holds; None otherwise. lease_s: None leaves the lease as it was.
        """

    async def note_key(self, ref: UploadRef, key: BlobKey) -> None:
        """`open`: note a key before it is used; the key in use stays the same."""

    async def use_key(self, ref: UploadRef, key: BlobKey) -> None:
        """`open`: from now on this noted key is the blob's. Raises Fenced for any other."""

    async def save(
        self,
        ref: UploadRef,
        progress: Progress,
        *,
        parts: Sequence[Part] = (),
        anew: bool = False,
        state: UploadState = UploadState.OPEN,
        lease_s: float | None = None,
    ) -> None:
        """`open` or `sealing` -> `state`, with this progress.

        parts: acknowledged since, added to those of the span. anew: the span has these only.
        lease_s: None leaves the lease as it was.
        """

    async def retire(self, ref: UploadRef, keys: Collection[BlobKey], look_again_s: float) -> None:
        """`open`: hand noted keys of which nothing is needed over to a tombstone of their own.

        A tombstone that stays although the answer was lost does no harm.
        """

    async def unfinished(
        self, tenant: TenantId, principal: str, *, after: str, limit: int
    ) -> list[Upload]:
        """Those of a principal that may go on, by id, ids > after, without their parts."""

    async def aging(self, *, opened_before_s: float, limit: int) -> list[Upload]:
        """Those whose span was opened that long ago, the oldest first, without their parts."""
