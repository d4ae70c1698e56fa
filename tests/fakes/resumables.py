"""Resumable uploads in memory: further steps on the uploads of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from service.errors import Fenced
from service.model.ids import BlobKey, TenantId, UploadId
from service.model.resumable import Progress
from service.model.upload import Part, Upload, UploadRef, UploadState, UsedKey
from tests.fakes.clock import Clock
from tests.fakes.replica import Replica

_GOING_ON = (UploadState.OPEN, UploadState.SEALING)


class FakeResumableLedger:
    def __init__(self, clock: Clock, replica: Replica) -> None:
        self._clock = clock
        self._replica = replica

    async def claim(
        self, upload: UploadId, owner: str, offset: int, *, lease_s: float | None = None
    ) -> Upload | None:
        found = self._replica.writable().uploads.get(upload)
        if found is None or found.state not in _GOING_ON or found.progress is None:
            return None
        if found.progress.closed or found.progress.offset != offset:
            return None
        if found.lease_until is None or found.lease_until < self._clock.now:
            return None
        claimed = replace(
            found,
            ref=UploadRef(upload, found.ref.epoch + 1, owner),
            progress=replace(found.progress, working=True),
            lease_until=self._lease(found, lease_s),
        )
        return self._put(claimed)

    async def note_key(self, ref: UploadRef, key: BlobKey) -> None:
        found = self._owned(ref, UploadState.OPEN)
        self._put(replace(found, keys=(*found.keys, UsedKey(key))))

    async def use_key(self, ref: UploadRef, key: BlobKey) -> None:
        found = self._owned(ref, UploadState.OPEN)
        if key not in {used.blob_key for used in found.keys}:
            raise Fenced
        self._put(replace(found, intent=replace(found.intent, blob_key=key)))

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
        found = self._owned(ref, *_GOING_ON)
        self._put(
            replace(
                found,
                state=state,
                progress=progress,
                parts=(*(() if anew else found.parts), *parts),
                lease_until=self._lease(found, lease_s),
            )
        )

    async def retire(self, ref: UploadRef, keys: Collection[BlobKey], look_again_s: float) -> None:
        found = self._owned(ref, UploadState.OPEN)
        intent = found.intent.of_tombstone()
        retired = tuple(used for used in found.keys if used.blob_key in keys)
        kept = tuple(used for used in found.keys if used.blob_key not in keys)
        self._put(
            Upload(
                ref=UploadRef(intent.id, ref.epoch, ref.owner),
                state=UploadState.UNDONE,
                intent=intent,
                keys=retired,
                created_at=self._clock.now,
                clean_at=self._clock.now + timedelta(seconds=look_again_s),
            )
        )
        self._put(replace(found, keys=kept))

    async def unfinished(
        self, tenant: TenantId, principal: str, *, after: str, limit: int
    ) -> list[Upload]:
        own = [
            replace(upload, parts=())
            for upload in self._replica.majority.uploads.values()
            if upload.intent.tenant == tenant
            and upload.progress is not None
            and upload.intent.resumable is not None
            and upload.intent.resumable.principal == principal
            and upload.ref.id > after
        ]
        return sorted(own, key=lambda upload: upload.ref.id)[:limit]

    async def aging(self, *, opened_before_s: float, limit: int) -> list[Upload]:
        before = self._clock.now - timedelta(seconds=opened_before_s)
        old = [
            (upload.progress.span.opened_at, replace(upload, parts=()))
            for upload in self._replica.majority.uploads.values()
            if upload.progress is not None
            and upload.progress.span is not None
            and upload.progress.span.opened_at <= before
        ]
        return [upload for _, upload in sorted(old, key=lambda each: each[0])][:limit]

    def _owned(self, ref: UploadRef, *states: UploadState) -> Upload:
        found = self._replica.writable().uploads.get(ref.id)
        if found is None or found.ref != ref or found.state not in states:
            raise Fenced
        return found

    def _put(self, upload: Upload) -> Upload:
        self._replica.writable().uploads[upload.ref.id] = upload
        return upload

    def _lease(self, found: Upload, lease_s: float | None) -> datetime | None:
        if lease_s is None:
            return found.lease_until
        return self._clock.now + timedelta(seconds=lease_s)
