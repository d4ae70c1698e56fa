"""Deletion of many keys by one request: each by itself, a few at a time.

What becomes of one key is no matter to the others: each is deleted as `delete_object` does it, and
has its own outcome. A request that is cut off leaves the rest undeleted; to ask again is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import BucketNotFound, MediagateError
from service.model.api_key import Principal, Scope
from service.model.preconditions import Preconditions
from service.usecases.authorize import authorize
from service.usecases.delete_object import delete_object
from service.usecases.runtime import Runtime

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class KeyDeletion:
    """deleted: False where the key named nothing. problem: why it was not, or perhaps not."""

    key: str
    deleted: bool = False
    problem: MediagateError | None = None


async def delete_objects(
    runtime: Runtime, principal: Principal, bucket: str, keys: Sequence[str]
) -> list[KeyDeletion]:
    """One outcome for each of `keys`, in their order.

    A key that the principal may not delete fails alone, as does one that a store gives no answer
    for. Raises BucketNotFound, StoreUnavailable (nothing was tried).
    """
    if await runtime.metadata.buckets.get(principal.tenant, bucket) is None:
        raise BucketNotFound(f"there is no bucket {bucket!r}")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str) -> KeyDeletion:
        async with gate:
            return await _delete(runtime, principal, bucket, key)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(key)) for key in keys]
    return [task.result() for task in tasks]


async def _delete(runtime: Runtime, principal: Principal, bucket: str, key: str) -> KeyDeletion:
    try:
        authorize(principal, Scope.DELETE, bucket=bucket, key=key)
        gone = await delete_object(runtime, principal.tenant, bucket, key, Preconditions())
    except MediagateError as error:
        return KeyDeletion(key, problem=error)
    return KeyDeletion(key, deleted=gone is not None)
