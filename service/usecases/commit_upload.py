"""From a stored body to a visible version: `completing`, the store's Complete, the commit.

A body that one PutObject stored has nothing to complete: it goes from `open` to `committed` in one
transaction, and until that is sent nothing of it is worth keeping for a client that went away.

All of it runs in a task of its own, so that a client that goes away does not leave half of it.
Yet nobody waits for the answer then, and the same client may have sent something newer meanwhile:
an abandoned upload commits only if nothing newer was committed on its key, as the sweeper's would.

What is told when it fails: a definite error only once `undoing` is won, which proves that no
version can come of the upload; otherwise OutcomeUnknown, and the sweeper settles it by the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from service.errors import (
    Fenced,
    MediagateError,
    OutcomeUnknown,
    StoreUnavailable,
)
from service.model.upload import Completion, Upload, UploadState
from service.usecases.complete_multipart import complete_multipart
from service.usecases.leases import kept_lease
from service.usecases.runtime import Runtime
from service.usecases.store_body import StoredBody, is_whole
from service.usecases.undo import give_up


async def commit_upload(runtime: Runtime, upload: Upload, stored: StoredBody) -> Upload:
    """Returns the committed upload.

    Raises PreconditionFailed, BucketNotFound, BucketDeleting, StoreUnavailable (nothing came of
    it), OutcomeUnknown (the sweeper will know).
    """
    ending = _Ending(runtime, upload, stored)
    task = runtime.tasks.spawn(ending.run(), name="commit")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        ending.abandon()
        raise


async def complete_upload(runtime: Runtime, upload: Upload, stored: StoredBody) -> Completion:
    """All that precedes the commit; a body that one PutObject stored has nothing to complete.

    Raises StoreUnavailable, OutcomeUnknown, Fenced: the caller has the upload undone then.
    """
    return await _Ending(runtime, upload, stored).complete()


class _Ending:
    def __init__(self, runtime: Runtime, upload: Upload, stored: StoredBody) -> None:
        self._runtime = runtime
        self._ledger = runtime.metadata.uploads
        self._upload = upload
        self._stored = stored
        self._abandoned = False
        self._commit: asyncio.Task[Upload] | None = None
        self._base_seq: int | None = None

    def abandon(self) -> None:
        """The client is gone: a commit that was sent may end, one under way is called off."""
        self._abandoned = True
        if self._commit is not None:
            self._commit.cancel()

    async def run(self) -> Upload:
        try:
            commit = await self._ready()
        except MediagateError as error:
            return await self._give_up(error)
        self._commit = asyncio.create_task(commit)
        try:
            return await self._commit
        except asyncio.CancelledError:
            if not self._commit.cancelled() or not self._abandoned:
                raise
        except OutcomeUnknown:
            raise
        except MediagateError as error:
            return await self._give_up(error)
        return await self._without_client()

    async def _without_client(self) -> Upload:
        """Its commit was called off. Nothing of one PutObject is worth keeping now; a multipart,
        all of it in the store, is committed if nothing newer was."""
        if self._base_seq is None:
            return await self._give_up(OutcomeUnknown("the client went away"))
        deadline_s = self._runtime.settings.metadata.commit_timeout_s
        try:
            return await self._ledger.commit(
                self._upload.ref, deadline_s=deadline_s, base_seq=self._base_seq
            )
        except OutcomeUnknown:
            raise
        except MediagateError as error:
            return await self._give_up(error)

    async def complete(self) -> Completion:
        if self._stored.multipart_id is None:
            return self._completion(base_seq=0)
        return await self._complete()

    async def _ready(self) -> Coroutine[Any, Any, Upload]:
        """The commit, not begun; everything before it is done."""
        deadline_s = self._runtime.settings.metadata.commit_timeout_s
        if self._stored.multipart_id is None:
            if self._abandoned:
                raise OutcomeUnknown("the client went away")
            whole = self._completion(base_seq=0)
            return self._ledger.commit_whole(self._upload, whole, deadline_s=deadline_s)
        completion = await self._complete()
        self._base_seq = completion.base_seq
        return self._ledger.commit(
            self._upload.ref,
            deadline_s=deadline_s,
            base_seq=completion.base_seq if self._abandoned else None,
        )

    def _completion(self, *, base_seq: int) -> Completion:
        stored = self._stored
        return Completion(
            size_bytes=stored.size_bytes,
            digests=stored.digests,
            facts=replace(self._upload.intent.facts, sniffed_type=stored.sniffed_type),
            parts=stored.parts,
            base_seq=base_seq,
        )

    async def _complete(self) -> Completion:
        intent = self._upload.intent
        base_seq = await self._runtime.metadata.versions.current_seq(
            intent.tenant, intent.bucket_id, intent.key
        )
        completion = self._completion(base_seq=base_seq)
        lease_s = self._runtime.settings.uploads.lease_s
        await self._ledger.complete(self._upload.ref, completion, lease_s)
        async with kept_lease(self._ledger, self._upload.ref, lease_s):
            assert self._stored.multipart_id is not None
            await complete_multipart(
                self._runtime,
                self._stored.blob_key,
                self._stored.multipart_id,
                self._stored.parts,
                self._stored.size_bytes,
                self._stored.crc64nvme,
            )
            if self._stored.copied and not await self._is_whole():
                raise StoreUnavailable("the store joined a copy that is not the original")
        return completion

    async def _is_whole(self) -> bool:
        stored = self._stored
        return await is_whole(self._runtime, stored.blob_key, stored.size_bytes, stored.crc64nvme)

    async def _give_up(self, error: MediagateError) -> Upload:
        """Win `undoing` and raise `error`; find out what happened where it cannot be won."""
        try:
            await give_up(self._runtime, self._upload.ref)
        except Fenced:
            return await self._settled_by_others(error)
        except StoreUnavailable as lost:
            raise OutcomeUnknown("the upload could be neither committed nor undone") from lost
        raise error

    async def _settled_by_others(self, error: MediagateError) -> Upload:
        settled = await self._ledger.get(self._upload.ref.id)
        if settled is not None and settled.state is UploadState.COMMITTED:
            return settled
        if settled is not None and settled.state in (UploadState.OPEN, UploadState.COMPLETING):
            raise OutcomeUnknown("the upload was taken over") from error
        raise error
