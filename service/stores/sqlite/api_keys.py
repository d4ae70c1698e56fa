"""API keys: found by their public id, listed by tenant; each change with its event.

A key changes twice at most: it is made (`seq` 1) and it is revoked (`seq` 2).
"""

from __future__ import annotations

import builtins
from dataclasses import replace

from service.errors import Conflict
from service.model.api_key import ApiKey
from service.model.event import Event, EventType
from service.model.ids import EventId, KeyId, TenantId, new_id
from service.stores.sqlite.clock import moment, now_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.entries import announce
from service.stores.sqlite.rows import api_key_in, api_key_out
from service.stores.sqlite.statements import change, insert, many, one

_BY_ID = "SELECT * FROM api_keys WHERE id = ?"
_LIST = "SELECT * FROM api_keys WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?"
_REVOKE = "UPDATE api_keys SET revoked_ms = ? WHERE id = ?"


class SqliteKeyStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, key: ApiKey) -> None:
        event = Event(EventId(new_id()), EventType.KEY_CREATED, 1, key.created_at, key)

        def work(db: Db) -> None:
            if one(db, _BY_ID, key.id) is not None:
                raise Conflict("there is such an API key already")
            insert(db, "api_keys", api_key_in(key))
            announce(db, event)

        await self._engine.write(work)

    async def get(self, key: KeyId) -> ApiKey | None:
        def work(db: Db) -> ApiKey | None:
            found = one(db, _BY_ID, key)
            return api_key_out(found) if found is not None else None

        return await self._engine.read(work)

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> builtins.list[ApiKey]:
        def work(db: Db) -> builtins.list[ApiKey]:
            return [api_key_out(row) for row in many(db, _LIST, tenant, after, limit)]

        return await self._engine.read(work)

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        """The first revocation's time stays, and it alone is an event."""

        def work(db: Db) -> bool:
            found = one(db, _BY_ID, key)
            if found is None or found["tenant"] != tenant:
                return False
            if found["revoked_ms"] is None:
                at_ms = now_ms()
                change(db, _REVOKE, at_ms, key)
                revoked = replace(api_key_out(found), revoked_at=moment(at_ms))
                kind = EventType.KEY_REVOKED
                announce(db, Event(EventId(new_id()), kind, 2, moment(at_ms), revoked))
            return True

        return await self._engine.write(work)
