"""API keys: found by their public id, listed by tenant; each change with its event.

A key changes twice at most: it is made (`seq` 1) and it is revoked (`seq` 2).
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable

from pymongo import ASCENDING, ReturnDocument

from service.errors import Conflict
from service.model.api_key import ApiKey
from service.model.event import Event, EventType
from service.model.ids import EventId, KeyId, TenantId, new_id
from service.stores.mongo.clock import NOW
from service.stores.mongo.documents import api_key_in, api_key_out
from service.stores.mongo.driver import Database, Session
from service.stores.mongo.errors import Guard
from service.stores.mongo.events import event_in
from service.stores.mongo.transactions import Transactions


class MongoKeyStore:
    def __init__(self, database: Database, guard: Guard, transactions: Transactions) -> None:
        self._keys = database["api_keys"]
        self._events = database["events"]
        self._guard = guard
        self._transactions = transactions

    async def create(self, key: ApiKey) -> None:
        event = Event(EventId(new_id()), EventType.KEY_CREATED, 1, key.created_at, key)

        async def work(session: Session) -> bool:
            if await self._keys.find_one({"_id": key.id}, session=session) is not None:
                raise Conflict("there is such an API key already")
            await self._keys.insert_one(api_key_in(key), session=session)
            await self._events.insert_one(event_in(event), session=session)
            return True

        await self._run(work, event.id)

    async def get(self, key: KeyId) -> ApiKey | None:
        with self._guard.reading():
            found = await self._keys.find_one({"_id": key})
        return api_key_out(found) if found else None

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> builtins.list[ApiKey]:
        with self._guard.reading():
            cursor = self._keys.find(
                {"tenant": tenant, "_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit
            )
            return [api_key_out(document) for document in await cursor.to_list(limit)]

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        """The first revocation's time stays, and it alone is an event."""
        change = EventId(new_id())
        wanted = {"_id": key, "tenant": tenant}

        async def work(session: Session) -> bool:
            found = await self._keys.find_one(wanted, session=session)
            if found is None or found["revoked_at"] is not None:
                return found is not None
            revoked = api_key_out(
                await self._keys.find_one_and_update(
                    wanted,
                    [{"$set": {"revoked_at": NOW}}],
                    return_document=ReturnDocument.AFTER,
                    session=session,
                )
            )
            assert revoked.revoked_at is not None
            event = Event(change, EventType.KEY_REVOKED, 2, revoked.revoked_at, revoked)
            await self._events.insert_one(event_in(event), session=session)
            return True

        return await self._run(work, change)

    async def _run(self, work: Callable[[Session], Awaitable[bool]], event: EventId) -> bool:
        async def landed() -> bool | None:
            with self._guard.reading():
                return await self._events.find_one({"_id": event}) is not None or None

        return await self._transactions.run(work, landed, deadline_s=self._guard.timeout_s)
